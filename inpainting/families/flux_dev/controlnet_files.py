"""The configuration of a ControlNet of FLUX.1 [dev] in one file, whose tensors have the names of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.core.sentences import sentence
from inpainting.families.flux.transformer import HEAD_WIDTH, PLAIN_CHANNELS, ROPE_AXES, WIDTH

CONTROL, TOKENS, TEXTS = "controlnet_x_embedder.weight", "x_embedder.weight", "context_embedder.weight"
POOLED, MODES = "time_text_embed.text_embedder.linear_1.weight", "controlnet_mode_embedder.weight"
GUIDANCE = "time_text_embed.guidance_embedder.linear_1.weight"
PIXELS = "input_hint_block.conv_in.weight"
"""In the ControlNets of XLabs, which take the control image's pixels."""
MASK_CHANNELS = (0, 4)
"""Further channels of the control image's tokens: none, or those of the mask."""


def configuration(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration, as `ControlNetSupport.configuration` describes."""
    shapes = {name: header.get(name, {"shape": []})["shape"] for name in (CONTROL, TOKENS, TEXTS, POOLED)}
    if PIXELS in header:
        raise ModelRefused(
            sentence(
                "{file} is a ControlNet of XLabs, which takes the pixels of its control image, and is not supported.",
                file=path.name,
            )
        )
    if any(len(shape) != 2 for shape in shapes.values()):
        raise unpublished(path)
    (width, seen), (_, channels), (_, features), (_, pooled) = shapes.values()
    if (width, channels) != (WIDTH, PLAIN_CHANNELS) or seen - channels not in MASK_CHANNELS:
        raise unpublished(path)
    return {
        "_class_name": "FluxControlNetModel",
        "patch_size": 1,
        "in_channels": channels,
        "num_layers": count(header, "controlnet_blocks"),
        "num_single_layers": count(header, "controlnet_single_blocks"),
        "attention_head_dim": HEAD_WIDTH,
        "num_attention_heads": width // HEAD_WIDTH,
        "joint_attention_dim": features,
        "pooled_projection_dim": pooled,
        "guidance_embeds": GUIDANCE in header,
        "axes_dims_rope": ROPE_AXES,
        "num_mode": header[MODES]["shape"][0] if MODES in header else None,
        "extra_condition_channels": seen - channels,
    }


def count(header: Mapping[str, Any], blocks: str) -> int:
    return len([name for name in header if re.fullmatch(rf"{blocks}\.\d+\.weight", name)])


def unpublished(path: Path) -> ModelRefused:
    return ModelRefused(
        sentence("{file} is no ControlNet of a published shape for {label}.", file=path.name, label="FLUX.1")
    )
