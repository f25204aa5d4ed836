"""Noise levels of the published scheduler configurations, with the default steps of the shipped models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog import configurations
from inpainting.catalog.shipped import SHIPPED
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.sampling import flow_schedulers, schedulers

FLUX = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
"""scheduler/scheduler_config.json of black-forest-labs/FLUX.1-dev, -Fill-dev and -Kontext-dev on huggingface.co."""
QWEN = {**FLUX, "max_image_seq_len": 8192, "max_shift": 0.9, "shift": 1.0, "shift_terminal": 0.02}
"""The same file of Qwen/Qwen-Image."""
TURBO = {"num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": False}
"""The same file of Tongyi-MAI/Z-Image-Turbo; that of Tongyi-MAI/Z-Image has a shift of 6."""


def shifted(levels: Any, shift: float) -> Any:
    """Esser et al. 2024, arXiv 2403.03206, equation 23."""
    return shift * levels / (1 + (shift - 1) * levels)


def stretched(levels: Any, last: float) -> Any:
    """Levels from 1 to `last`, as `stretch_shift_to_terminal` of diffusers' scheduler."""
    return 1 - (1 - levels) * (1 - last) / (1 - levels[-1])


@pytest.mark.parametrize(
    ("slug", "config", "shift", "last"),
    [
        ("flux-fill", FLUX, np.exp(1.15), None),
        ("flux-dev", FLUX, np.exp(1.15), None),
        ("flux-schnell", {**FLUX, "shift": 1.0, "use_dynamic_shifting": False}, 1.0, None),
        ("flux-kontext", FLUX, np.exp(1.15), None),
        ("qwen-image", QWEN, np.exp(0.5 + 0.4 * (4096 - 256) / (8192 - 256)), 0.02),
        ("z-image-turbo", TURBO, 3.0, None),
        ("z-image", {**TURBO, "shift": 6.0}, 6.0, None),
    ],
)
def test_a_flow_matching_model_has_its_published_noise_levels(
    slug: str, config: dict[str, Any], shift: float, last: float | None
) -> None:
    """At 1024x1024, which is 64x64 patches. The model card of Z-Image-Turbo counts its eight steps as nine."""
    (spec,) = [spec for spec in SHIPPED if spec.slug == slug]
    schedule, notes = flow_schedulers.schedule(PaintSettings(strength=1.0), spec, config, (128, 128))
    expected = shifted(np.linspace(1, 0, spec.steps + 1)[:-1], shift)
    if last is not None:
        expected = stretched(expected, last)
    np.testing.assert_allclose(schedule.timesteps.numpy() / 1000, expected, rtol=1e-5)
    assert notes == ()


def test_a_schedule_of_one_step_begins_at_the_noise_although_it_is_stretched_to_a_last_level() -> None:
    (spec,) = [spec for spec in SHIPPED if spec.slug == "qwen-image"]
    schedule, _ = flow_schedulers.schedule(PaintSettings(strength=1.0, steps=1), spec, QWEN, (128, 128))
    assert schedule.timesteps.tolist() == [1000.0]


@pytest.mark.parametrize("name", configurations.NAMES)
def test_a_model_that_predicts_noise_has_the_published_noise_levels(name: str) -> None:
    """The least and the greatest of k-diffusion, which most programs quote: 0.0292 and 14.6146."""
    config = configurations.files_of(name)["scheduler/scheduler_config.json"]
    scheduler, _ = schedulers.make("EulerDiscreteScheduler", config)
    kept = scheduler.alphas_cumprod
    sigmas = torch.sqrt((1 - kept) / kept)
    torch.testing.assert_close(sigmas[[0, -1]], torch.tensor([0.0292, 14.6146]), rtol=2e-3, atol=0)


def test_the_published_scheduler_of_sdxl_leads_by_one_timestep() -> None:
    """20 steps, as on the model card of SDXL inpainting, of `timestep_spacing` "leading" with a `steps_offset` of 1."""
    config = configurations.files_of("sdxl")["scheduler/scheduler_config.json"]
    scheduler, _ = schedulers.make("EulerDiscreteScheduler", config)
    assert schedulers.begin(scheduler, 20, 1.0).tolist() == list(range(951, 0, -50))
