"""The layers of FLUX.2's transformer by the names of Black Forest Labs' own code, in which most trainers save LoRAs.

There the projections of an attention layer of a double block are one; those of single blocks are in diffusers too.
Those names are also FLUX.1's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inpainting.catalog.inspection.lora_layers import Shape, input_width
from inpainting.families.flux.lora_names import DOUBLE_ATTENTION, Blocks, find_name
from inpainting.families.flux.other_loras import other_model as other_than_flux_1

BLOCKS: Mapping[str, Blocks] = {
    "transformer_blocks": (
        "double_blocks",
        {
            **DOUBLE_ATTENTION,
            "ff.linear_in": ("img_mlp.0", 0),
            "ff.linear_out": ("img_mlp.2", 0),
            "ff_context.linear_in": ("txt_mlp.0", 0),
            "ff_context.linear_out": ("txt_mlp.2", 0),
        },
    ),
    "single_transformer_blocks": (
        "single_blocks",
        {"attn.to_qkv_mlp_proj": ("linear1", 0), "attn.to_out": ("linear2", 0)},
    ),
}
OUTSIDE = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    **{
        f"{name}.linear": f"{name}.lin"
        for name in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")
    },
    "proj_out": "final_layer.linear",
}
DEV, DEV_WIDTH = "FLUX.2 [dev]", 6144
"""A model of the same layers, and the inputs of many of them; no layer of [klein] has so many."""


def original_name(path: str, transformer: Any) -> tuple[str, int] | None:
    """Return (name in the original, part of its outputs) for a layer's path in diffusers; None if it has none."""
    return find_name(path, BLOCKS, OUTSIDE)


def other_model(layers: Mapping[str, Mapping[str, Shape]], base_models: str) -> str:
    """Return the name of the other model that a LoRA is for, as `LoraSupport.other_model` describes."""
    if any(input_width(shapes) == DEV_WIDTH for shapes in layers.values()):
        return DEV
    seen = other_than_flux_1(layers, base_models)
    return "" if seen.startswith("FLUX.2") else seen
