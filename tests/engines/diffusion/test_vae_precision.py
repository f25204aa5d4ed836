"""A VAE runs in the model's precision unless it overflows there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.networks.device.hardware import Hardware
from tests.support import tiny_models


@dataclass(frozen=True, slots=True)
class Processor(Hardware):
    """The CPU as a GPU that computes in bfloat16, or does not."""

    is_recent: bool = True

    @property
    def has_bfloat16(self) -> bool:
        return self.is_recent


OLD_GPU, GPU = (Processor(torch.device("cpu"), torch.float16, is_recent=is_recent) for is_recent in (False, True))
IN_BFLOAT16 = Hardware(torch.device("cpu"), torch.bfloat16)


def overflowing_model(folder: Path, family: str, hardware: Hardware) -> Any:
    model = load(tiny_models.saved(folder / "model", family), hardware)
    model.vae.register_to_config(force_upcast=True)  # diffusers' default for files without the key
    return model


def watch(monkeypatch: pytest.MonkeyPatch, vae: Any) -> tuple[list[torch.dtype], list[torch.dtype]]:
    """The dtypes of what is encoded and decoded from now on, and those that the VAE is converted to."""
    seen: list[torch.dtype] = []
    conversions: list[torch.dtype] = []

    def watched(own: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: torch.Tensor, **more: Any) -> Any:
            seen.append(tensor.dtype)
            return own(tensor, **more)

        return call

    for name in ("encode", "decode"):
        monkeypatch.setattr(vae, name, watched(getattr(vae, name)))
    convert = vae.to

    def converted(dtype: torch.dtype) -> Any:
        conversions.append(dtype)
        return convert(dtype)

    monkeypatch.setattr(vae, "to", converted)
    return seen, conversions


def paint_twice(model: Any) -> list[torch.Tensor]:
    """Encode the source image of two requests and decode two images of each. Returns the masked images' latents."""
    latents = []
    for shade in (0, 255):
        mask = np.full((64, 64), 255, np.uint8)
        settings = PaintSettings(prompt="a red bus", strength=1.0)
        request = InpaintRequest(CanonicalImage(np.full((64, 64, 3), shade, np.uint8)), mask, settings)
        text = tiny_models.encoded(model, settings, request.image.size)
        with torch.inference_mode():
            state, _ = model.start(request, 0, text)
        assert state.masked_image is not None
        latents.append(state.masked_image)
        model.codec().decode(torch.cat([state.latents] * 2))
    return latents


@pytest.mark.parametrize(
    ("family", "hardware", "dtype", "conversion_count"),
    [
        ("sd", OLD_GPU, torch.float16, 0),
        ("sdxl", OLD_GPU, torch.float32, 2 * 4),
        ("sdxl", GPU, torch.bfloat16, 1),
        ("sdxl", IN_BFLOAT16, torch.bfloat16, 0),
    ],
    ids=["sd", "without-bfloat16", "with-bfloat16", "bfloat16"],
)
def test_an_sdxl_vae_that_overflows_float16_is_converted_once_where_the_device_has_bfloat16(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    hardware: Hardware,
    dtype: torch.dtype,
    conversion_count: int,
) -> None:
    model = overflowing_model(tmp_path, family, hardware)
    seen, conversions = watch(monkeypatch, model.vae)
    paint_twice(model)
    assert seen == [dtype] * 4  # each request is encoded and decoded once
    assert len(conversions) == conversion_count
    assert model.vae.dtype == (torch.float16 if hardware is OLD_GPU else torch.bfloat16)


def test_latents_in_bfloat16_are_close_to_those_in_float32(tmp_path: Path) -> None:
    ours, expected = (
        torch.cat(paint_twice(overflowing_model(tmp_path / name, "sdxl", hardware)))
        for name, hardware in {"ours": GPU, "plain": OLD_GPU}.items()
    )
    assert 0 < torch.linalg.vector_norm(ours - expected) / torch.linalg.vector_norm(expected) < 2e-2


def test_a_separate_vae_is_converted_like_the_own_one(tmp_path: Path) -> None:
    model = overflowing_model(tmp_path, "sdxl", GPU)
    other = copy.deepcopy(model.vae)
    assert other.dtype == torch.float16
    assert model.codec(other).dtype == other.dtype == torch.bfloat16


def test_pixels_that_overflow_bfloat16_too_are_decoded_again_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = overflowing_model(tmp_path, "sdxl", GPU)
    decode = model.vae.decode

    def overflowing(latents: torch.Tensor, **more: Any) -> Any:
        pixels = decode(latents, **more)[0]
        return (pixels if latents.dtype == torch.float32 else pixels * torch.nan,)

    monkeypatch.setattr(model.vae, "decode", overflowing)
    codec = model.codec()
    seen, conversions = watch(monkeypatch, model.vae)
    (image,) = codec.decode(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert image.std() > 0
    assert seen == [torch.bfloat16, torch.float32]
    assert conversions == [torch.float32, torch.bfloat16]


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
        (image,) = model.codec(backend=compiled).decode(latents)
        model.vae.to(torch.float32)
        torch.testing.assert_close(latents, model.codec().encode(pixels, drawn().manual_seed(3)), rtol=0, atol=0)
        assert np.array_equal(image, model.codec().decode(latents)[0])


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
    images = model.codec().decode(latents)
    monkeypatch.undo()
    assert seen == {"cpu": [torch.uint8], "__bool__": [torch.bool]}
    with torch.inference_mode():
        shares = model.vae.decode(latents / model.vae.config.scaling_factor).sample / 2 + 0.5
    expected = (shares.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(images, expected)
