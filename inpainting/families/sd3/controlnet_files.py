"""The configuration of a ControlNet of Stable Diffusion 3 in one file, and the names of its publisher for its layers.

The files of Stability AI have other names than diffusers, which converts them by a script
(`scripts/convert_sd3_controlnet_to_diffusers.py`); those of InstantX and alimama have the same names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.core.sentences import sentence

INPUT, WORDS = "pos_embed_input.proj.weight", "time_text_embed.text_embedder.linear_1.weight"
TEXTS, POSITIONS = "context_embedder.weight", "pos_embed.pos_embed"
HEAD_WIDTH, PATCH, CHANNELS = 64, 2, 16
"""Of every published model; the side of a patch in latents; channels of the latents."""
MASK_CHANNELS = (0, 1)
"""Further channels of the control image: none, or the mask."""
QKV = ".attn.qkv"
"""The end of the publisher's name for the layer that gives queries, keys and values."""
NAMES = {".attn.proj": ".attn.to_out.0", ".adaLN_modulation.1": ".norm1.linear", ".mlp.fc1": ".ff.net.0.proj"} | {
    ".mlp.fc2": ".ff.net.2"
}
"""Ends of the publisher's names for the other layers of a block -> those of diffusers."""
OWN_NAMES = ("control_type",)
"""Tensors of the publisher that diffusers has no place for: the number of the kind of control image."""


def configuration(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration, as `ControlNetSupport.configuration` describes."""
    shapes = {name: header.get(name, {"shape": []})["shape"] for name in (INPUT, WORDS, TEXTS, POSITIONS)}
    if (len(shapes[INPUT]), len(shapes[WORDS])) != (4, 2):
        raise unpublished(path)
    (width, seen, *_), (_, pooled) = shapes[INPUT], shapes[WORDS]
    reads_text, has_places = len(shapes[TEXTS]) == 2, len(shapes[POSITIONS]) == 3
    # Stability AI's read no text and embed no latents; the others do both.
    if seen - CHANNELS not in MASK_CHANNELS or width % HEAD_WIDTH or reads_text != has_places:
        raise unpublished(path)
    blocks = range(len([name for name in header if re.fullmatch(r"controlnet_blocks\.\d+\.weight", name)]))
    return {
        "_class_name": "SD3ControlNetModel",
        "sample_size": 128,
        "patch_size": PATCH,
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "num_layers": len(blocks),
        "attention_head_dim": HEAD_WIDTH,
        "num_attention_heads": width // HEAD_WIDTH,
        "joint_attention_dim": shapes[TEXTS][1] if reads_text else None,
        "caption_projection_dim": shapes[TEXTS][0] if reads_text else pooled,
        "pooled_projection_dim": pooled,
        "pos_embed_max_size": round(shapes[POSITIONS][1] ** 0.5) if has_places else None,
        "pos_embed_type": "sincos" if has_places else None,
        "use_pos_embed": has_places,
        "extra_conditioning_channels": seen - CHANNELS,
        "dual_attention_layers": [
            block for block in blocks if f"transformer_blocks.{block}.attn2.to_q.weight" in header
        ],
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in header else None,
        "force_zeros_for_pooled_projection": reads_text,
    }


def unpublished(path: Path) -> ModelRefused:
    return ModelRefused(
        sentence(
            "{file} is no ControlNet of a published shape for {label}.", file=path.name, label="Stable Diffusion 3"
        )
    )
