"""The configuration of a ControlNet of Qwen-Image in one file, whose tensors have the names of diffusers.

Publisher: huggingface.co/InstantX/Qwen-Image-ControlNet-Inpainting and Qwen-Image-ControlNet-Union.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.core.sentences import sentence

EMBEDDER, TOKENS, TEXTS = "controlnet_x_embedder.weight", "img_in.weight", "txt_in.weight"
HEAD = "transformer_blocks.0.attn.norm_q.weight"
WIDTH = 3072
"""Of Qwen-Image's transformer."""
ROPE = (16, 56, 56)
"""Parts of a head for the rotary embedding of the frame, the row and the column."""
MASK_CHANNELS = (0, 4)
"""Further channels of the control image's tokens: none, or those of the mask."""


def configuration(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration, as `ControlNetSupport.configuration` describes."""
    shapes = {name: header.get(name, {"shape": []})["shape"] for name in (EMBEDDER, TOKENS, TEXTS, HEAD)}
    if [len(shape) for shape in shapes.values()] != [2, 2, 2, 1]:
        raise unpublished(path)
    (width, seen), (_, channels), (_, features), (head,) = shapes.values()
    if width != WIDTH or seen - channels not in MASK_CHANNELS or head != sum(ROPE):
        raise unpublished(path)
    return {
        "_class_name": "QwenImageControlNetModel",
        "patch_size": 2,
        "in_channels": channels,
        "out_channels": channels // 4,
        "num_layers": len({name for name in header if re.fullmatch(r"controlnet_blocks\.\d+\.weight", name)}),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": features,
        "axes_dims_rope": [*ROPE],
        "extra_condition_channels": seen - channels,
    }


def unpublished(path: Path) -> ModelRefused:
    return ModelRefused(
        sentence("{file} is no ControlNet of a published shape for {label}.", file=path.name, label="Qwen-Image")
    )
