"""Grey masks: each pixel has its own strength (differential diffusion)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.networks.device.hardware import Hardware
from tests.support import tiny_models

STEPS = 10


@pytest.mark.parametrize("inpainting", [True, False])
def test_along_a_ramp_lower_mask_values_stay_closer_to_the_image(tmp_path: Path, inpainting: bool) -> None:
    model = load(
        tiny_models.saved(tmp_path / "tiny", inpainting=inpainting), Hardware(torch.device("cpu"), torch.float32)
    )
    # Eleven bands of one latent column each, from kept to wholly repainted.
    pixels = np.ascontiguousarray(data.astronaut()[:64, :88])
    shares = np.linspace(0, 1, 11)
    mask = np.repeat((shares * 255).round().astype(np.uint8), 8)[None].repeat(64, axis=0)
    requested = InpaintRequest(
        CanonicalImage(pixels),
        mask,
        PaintSettings(prompt="a red bus", strength=1.0, steps=STEPS, scheduler="DDIMScheduler"),
    )
    text = tiny_models.encoded(model, requested.settings, requested.image.size)
    denoising, _ = model.start(requested, 0, text)
    scheduler, _ = schedulers.make("DDIMScheduler", model.scheduler_config)
    clean = denoising.image
    assert clean is not None
    kept_at = [0] * 11
    while not denoising.is_done:
        (answer,) = model.predict([denoising])
        denoising.advance(answer)
        if denoising.is_done:
            expected = clean
        else:
            time = denoising.timesteps[denoising.index : denoising.index + 1]
            expected = scheduler.add_noise(clean, denoising.noise, time)
        same = torch.isclose(denoising.latents, expected, atol=1e-6).flatten(0, 2).all(dim=0)
        for column in range(11):
            kept_at[column] += bool(same[column])
    # A mask value of s repaints about s * STEPS steps; an inpainting UNet itself repaints fully kept pixels.
    wanted = [STEPS - round(share * STEPS) for share in shares]
    if inpainting:
        wanted[0] = 0
    assert all(abs(seen - want) <= 1 for seen, want in zip(kept_at, wanted, strict=True)), (kept_at, wanted)
    assert kept_at[1:] == sorted(kept_at[1:], reverse=True)
    assert kept_at[1] > kept_at[5] > kept_at[-1] == 0
