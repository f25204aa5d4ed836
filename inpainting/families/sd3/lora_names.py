"""The layers of Stable Diffusion 3's transformer by the names of its publisher's code, in which kohya-ss saves LoRAs.

There the projections of an attention layer are one (`mmditx.py` in github.com/Stability-AI/sd3.5). Layers whose outputs
are in another order in diffusers, shift and scale of the last norms, have no such name here.
"""

from __future__ import annotations

from typing import Any

from inpainting.families.flux.lora_names import ATTENTION, Layers, find_name

BLOCK: Layers = {
    **{
        f"{attn}.to_{name}": (f"x_block.{attn}.qkv", part)
        for attn in ("attn", "attn2")
        for part, name in enumerate(ATTENTION)
    },
    **{f"attn.add_{name}_proj": ("context_block.attn.qkv", part) for part, name in enumerate(ATTENTION)},
    "attn.to_out.0": ("x_block.attn.proj", 0),
    "attn2.to_out.0": ("x_block.attn2.proj", 0),
    "attn.to_add_out": ("context_block.attn.proj", 0),
    "ff.net.0.proj": ("x_block.mlp.fc1", 0),
    "ff.net.2": ("x_block.mlp.fc2", 0),
    "ff_context.net.0.proj": ("context_block.mlp.fc1", 0),
    "ff_context.net.2": ("context_block.mlp.fc2", 0),
    "norm1.linear": ("x_block.adaLN_modulation.1", 0),
    "norm1_context.linear": ("context_block.adaLN_modulation.1", 0),
}
LAST_NORM = "norm1_context.linear"
"""Of the last block, where it gives shift and scale alone."""
OUTSIDE = {
    "pos_embed.proj": "x_embedder.proj",
    "context_embedder": "context_embedder",
    **{
        f"time_text_embed.{ours}_embedder.linear_{number}": f"{theirs}_embedder.mlp.{layer}"
        for ours, theirs in (("timestep", "t"), ("text", "y"))
        for number, layer in ((1, 0), (2, 2))
    },
    "proj_out": "final_layer.linear",
}


def original_name(path: str, transformer: Any) -> tuple[str, int] | None:
    """Return (name in the original, part of its outputs) for a layer's path in diffusers; None if it has none."""
    last = f"transformer_blocks.{len(transformer.transformer_blocks) - 1}.{LAST_NORM}"
    return None if path == last else find_name(path, {"transformer_blocks": ("joint_blocks", BLOCK)}, OUTSIDE)
