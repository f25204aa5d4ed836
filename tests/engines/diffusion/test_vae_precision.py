"""A VAE runs in the model's own precision, but for those that overflow in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.catalog import Family
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.weights import load
from tests import tiny_models


@pytest.mark.parametrize(("family", "dtype"), [(Family.SD, torch.bfloat16), (Family.SDXL, torch.float32)])
def test_only_the_large_familys_vae_encodes_in_float32_when_its_config_says_so(
    tmp_path: Path, family: Family, dtype: torch.dtype
) -> None:
    model = load(tiny_models.saved(tmp_path / "model", family), Hardware(torch.device("cpu"), torch.bfloat16))
    model.vae.register_to_config(force_upcast=True)  # what diffusers fills in where a file says nothing
    encode, seen = model.vae.encode, []

    def watched(pixels: torch.Tensor) -> Any:
        seen.append(pixels.dtype)
        return encode(pixels)

    model.vae.encode = watched
    mask = np.full((64, 64), 255, np.uint8)
    settings = PaintSettings(prompt="a red bus", strength=1.0)
    request = InpaintRequest(Picture(np.zeros((64, 64, 3), np.uint8)), mask, settings)
    text, _ = model.read(settings, request.image.size)
    with torch.inference_mode():
        model.start(request, 0, text)
    assert seen == [dtype]
    assert model.vae.dtype == torch.bfloat16
