"""VAEs of a few KB with random weights, for the models of `tiny_models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny

from inpainting.catalog.specs import Kind, ModelSpec
from tests.support import tiny_models


def tiny(**more: Any) -> AutoencoderTiny:
    """An AutoencoderTiny like TAESD, with fewer and narrower blocks."""
    width = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    blocks = {"num_encoder_blocks": (1, 1, 1, 1), "num_decoder_blocks": (1, 1, 1, 1)}
    return AutoencoderTiny(**width, **blocks, **more)


def saved(folder: Path, *, kind: str = "AutoencoderKL", family: str = "sd", seed: int = 5) -> ModelSpec:
    """Save it in diffusers' layout; return its specification."""
    torch.manual_seed(seed)
    network = tiny() if kind == "AutoencoderTiny" else tiny_models.vae()
    network.eval().save_pretrained(folder, safe_serialization=True)
    return ModelSpec(slug=folder.name, label=folder.name, family=family, kind=Kind.VAE, path=folder)
