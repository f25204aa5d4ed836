"""The layers of FLUX's transformer by the names of Black Forest Labs' own code, in which most trainers save LoRAs.

There the projections of an attention layer are one, and in single blocks also the first layer of the MLP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Layers = Mapping[str, tuple[str, int]]
"""Layer of a block in diffusers -> the name in the original and which part of that layer's outputs it gives."""
Blocks = tuple[str, Layers]
"""The name of the blocks in the original, and their layers."""
ATTENTION = ("q", "k", "v")
DOUBLE_ATTENTION: Layers = {
    **{f"attn.to_{name}": ("img_attn.qkv", number) for number, name in enumerate(ATTENTION)},
    **{f"attn.add_{name}_proj": ("txt_attn.qkv", number) for number, name in enumerate(ATTENTION)},
    "attn.to_out.0": ("img_attn.proj", 0),
    "attn.to_add_out": ("txt_attn.proj", 0),
}
DOUBLE_BLOCK: Layers = {
    **DOUBLE_ATTENTION,
    "ff.net.0.proj": ("img_mlp.0", 0),
    "ff.net.2": ("img_mlp.2", 0),
    "ff_context.net.0.proj": ("txt_mlp.0", 0),
    "ff_context.net.2": ("txt_mlp.2", 0),
    "norm1.linear": ("img_mod.lin", 0),
    "norm1_context.linear": ("txt_mod.lin", 0),
}
SINGLE_BLOCK: Layers = {
    **{f"attn.to_{name}": ("linear1", number) for number, name in enumerate(ATTENTION)},
    "proj_mlp": ("linear1", len(ATTENTION)),
    "proj_out": ("linear2", 0),
    "norm.linear": ("modulation.lin", 0),
}
BLOCKS: Mapping[str, Blocks] = {
    "transformer_blocks": ("double_blocks", DOUBLE_BLOCK),
    "single_transformer_blocks": ("single_blocks", SINGLE_BLOCK),
}
OUTSIDE = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    **{
        f"time_text_embed.{ours}_embedder.linear_{number}": f"{theirs}_in.{layer}_layer"
        for ours, theirs in (("timestep", "time"), ("text", "vector"), ("guidance", "guidance"))
        for number, layer in ((1, "in"), (2, "out"))
    },
    "proj_out": "final_layer.linear",
}


def original_name(path: str, transformer: Any) -> tuple[str, int] | None:
    """Return (name in the original, part of its outputs) for a layer's path in diffusers; None if it has none."""
    return find_name(path, BLOCKS, OUTSIDE)


def find_name(path: str, blocks: Mapping[str, Blocks], outside: Mapping[str, str]) -> tuple[str, int] | None:
    """Return what `original_name` returns, for a network of these blocks and these layers outside of them.

    blocks: name in diffusers -> name in the original, and the layers of a block. outside: path of a layer -> its name.
    """
    if path in outside:
        return outside[path], 0
    found = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", path)
    if found is None or found[1] not in blocks:
        return None
    name, layers = blocks[found[1]]
    if found[3] not in layers:
        return None
    layer, part = layers[found[3]]
    return f"{name}.{found[2]}.{layer}", part
