"""Folders of adapters in diffusers' layout, with tensors of four numbers: for inspection only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def network(folder: Path, **configuration: object) -> Path:
    """A folder with a `config.json` of these values and one file of weights; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration))
    save_file({"weight": np.ones((2, 2), np.float32)}, folder / "diffusion_pytorch_model.safetensors")
    return folder


def ip_adapter(folder: Path, tensor: str = "image_proj.proj.weight") -> Path:
    """An IP-Adapter with the one tensor `tensor`, beside its image encoder; returns the folder."""
    encoder = network(folder / "models" / "image_encoder", architectures=["CLIPVisionModelWithProjection"])
    (encoder / "diffusion_pytorch_model.safetensors").rename(encoder / "model.safetensors")
    save_file({tensor: np.ones((2, 2), np.float32)}, folder / "models" / "ip-adapter_sd15.safetensors")
    return folder
