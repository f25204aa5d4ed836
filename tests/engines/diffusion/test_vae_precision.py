"""A VAE runs in the model's precision unless it overflows there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.serving.model_loading import load
from tests import tiny_models


@pytest.mark.parametrize(("family", "dtype"), [("sd", torch.bfloat16), ("sdxl", torch.float32)])
def test_only_the_sdxl_vae_encodes_in_float32_when_its_config_requires_it(
    tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    model = load(tiny_models.saved(tmp_path / "model", family), Hardware(torch.device("cpu"), torch.bfloat16))
    model.vae.register_to_config(force_upcast=True)  # diffusers' default for files without the key
    encode, seen = model.vae.encode, []

    def watched(pixels: torch.Tensor) -> Any:
        seen.append(pixels.dtype)
        return encode(pixels)

    model.vae.encode = watched
    mask = np.full((64, 64), 255, np.uint8)
    settings = PaintSettings(prompt="a red bus", strength=1.0)
    request = InpaintRequest(Picture(np.zeros((64, 64, 3), np.uint8)), mask, settings)
    text = tiny_models.encoded(model, settings, request.image.size)
    with torch.inference_mode():
        model.start(request, 0, text)
    assert seen == [dtype]
    assert model.vae.dtype == torch.bfloat16


class Overflowing:
    """A fake compiled VAE whose results overflow."""

    def encode(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        return torch.full_like(vae.encode(pixels).latent_dist.parameters, torch.nan)

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        return torch.full_like(vae.decode(latents, return_dict=False)[0], torch.nan).float()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_torch_recomputes_nan_of_a_compiled_vae_in_float32(tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    model = load(tiny_models.saved(tmp_path / "model", family), Hardware(torch.device("cpu"), dtype))
    pixels, drawn = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64), torch.Generator
    compiled: Any = Overflowing()
    with torch.inference_mode():
        latents = model.codec(backend=compiled).encode(pixels, drawn().manual_seed(3))
        (picture,) = model.codec(backend=compiled).decode(latents)
        model.vae.to(torch.float32)
        torch.testing.assert_close(latents, model.codec().encode(pixels, drawn().manual_seed(3)), rtol=0, atol=0)
        assert np.array_equal(picture, model.codec().decode(latents)[0])


def test_pixels_are_copied_to_the_host_in_eight_bits_after_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_models.saved(tmp_path / "model"), Hardware(torch.device("cpu"), torch.float32))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    seen: dict[str, list[torch.dtype]] = {"cpu": [], "__bool__": []}

    def watch(name: str) -> None:
        own = getattr(torch.Tensor, name)

        def watched(tensor: torch.Tensor) -> Any:
            seen[name].append(tensor.dtype)
            return own(tensor)

        monkeypatch.setattr(torch.Tensor, name, watched)

    for name in seen:
        watch(name)
    pictures = model.codec().decode(latents)
    monkeypatch.undo()
    assert seen == {"cpu": [torch.uint8], "__bool__": [torch.bool]}
    with torch.inference_mode():
        shares = model.vae.decode(latents / model.vae.config.scaling_factor).sample / 2 + 0.5
    expected = (shares.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(pictures, expected)
