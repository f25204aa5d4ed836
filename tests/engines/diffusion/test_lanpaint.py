"""LanPaint samples the conditional distribution of a Gaussian; blending with the noised source does not."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch

from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.engines.diffusion import flow_schedulers, schedulers
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.schedule import Schedule

FLOW = "flow"
SECOND_ORDER = {"HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", FLOW_SCHEDULERS[1]}
CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
"""The noise levels of Stable Diffusion."""
STEPS, INNER_STEPS, SAMPLES = 20, 5, 3000
KNOWN = torch.tensor([1, 1, 0, 0, 0, 0, 0, 1], dtype=torch.bool)
KNOWN_VALUES = torch.tensor([1.0, 1.5, -1.0])
PLACES = torch.arange(len(KNOWN))
COVARIANCE = 0.9 ** (PLACES[:, None] - PLACES).abs().float()
MEAN = torch.linspace(-0.5, 0.5, len(KNOWN))


class Gaussian(NamedTuple):
    """mean: [values]. covariance: [values, values]."""

    mean: torch.Tensor
    covariance: torch.Tensor


def conditional() -> Gaussian:
    """The distribution of the unknown values given the known ones."""
    unknown = ~KNOWN
    regression = COVARIANCE[unknown][:, KNOWN] @ torch.linalg.inv(COVARIANCE[KNOWN][:, KNOWN])
    mean = MEAN[unknown] + regression @ (KNOWN_VALUES - MEAN[KNOWN])
    return Gaussian(mean, COVARIANCE[unknown][:, unknown] - regression @ COVARIANCE[KNOWN][:, unknown])


def begun(name: str, prediction_type: str = "epsilon", strength: float = 1.0) -> Schedule:
    if name in FLOW_SCHEDULERS:
        scheduler, _ = flow_schedulers.make(name, {})
        timesteps = flow_schedulers.begin(scheduler, {}, steps=STEPS, strength=strength, patches=64)
    else:
        scheduler, _ = schedulers.make(name, {**CONFIG, "prediction_type": prediction_type})
        timesteps = schedulers.begin(scheduler, STEPS, strength)
    return Schedule(scheduler, timesteps)


def exact_prediction(schedule: Schedule, latents: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """What a network that knows the distribution of MEAN and COVARIANCE predicts, by the formulas of the papers.

    latents: [1, 1, samples, values], each row a sample of its own.
    """
    of_image, of_noise = schedule.weights
    noised = of_image**2 * COVARIANCE + of_noise**2 * torch.eye(len(KNOWN))
    gain = of_image * COVARIANCE @ torch.linalg.inv(noised)
    image = MEAN + (latents - of_image * MEAN) @ gain.T
    noise = (latents - of_image * image) / of_noise
    if prediction_type == FLOW:
        return noise - image
    if prediction_type == "v_prediction":
        scale = math.hypot(of_image, of_noise)
        return of_image / scale * noise - of_noise / scale * image
    return image if prediction_type == "sample" else noise


def state(
    schedule: Schedule, *, inner_steps: int, seed: int = 0, samples: int = SAMPLES, first: torch.Tensor | None = None
) -> DenoisingState:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, samples, len(KNOWN), generator=generator)
    image = torch.zeros_like(noise)
    image[..., KNOWN] = KNOWN_VALUES
    mask = (~KNOWN).float().expand_as(noise)
    latents = schedule.noised(image, noise) if schedule.is_flow else schedule.first_latents(noise)
    text = TextConditioning(torch.zeros(1, 1, 1))
    started = DenoisingState(latents, text, 1.0, schedule, mask, None, image, noise, generator)
    started.use_lanpaint(inner_steps)
    return started


def painted(started: DenoisingState, prediction_type: str) -> tuple[torch.Tensor, int]:
    """Return the latents after all steps, and the number of calls of the network."""
    calls = 0
    while not started.is_done:
        assert started.calls_done == calls
        assert started.model_input.shape == started.latents.shape
        started.advance(exact_prediction(started.schedule, started.latents, prediction_type))
        calls += 1
    assert calls == started.calls_done == started.call_count
    return started.latents[0, 0], calls


def distribution(latents: torch.Tensor) -> Gaussian:
    unknown = latents[:, ~KNOWN]
    return Gaussian(unknown.mean(0), torch.cov(unknown.T))


@pytest.mark.parametrize(
    ("name", "prediction_type"),
    [
        ("DDIMScheduler", "epsilon"),
        ("DDIMScheduler", "sample"),
        ("EulerDiscreteScheduler", "v_prediction"),
        ("DPMSolverMultistepScheduler", "v_prediction"),
        ("UniPCMultistepScheduler", "epsilon"),
        ("HeunDiscreteScheduler", "epsilon"),
        ("FlowMatchEulerDiscreteScheduler", FLOW),
        ("FlowMatchHeunDiscreteScheduler", FLOW),
    ],
)
def test_the_unknown_part_has_the_conditional_distribution(name: str, prediction_type: str) -> None:
    schedule, expected = begun(name, prediction_type), conditional()
    deviation = expected.covariance.diagonal().sqrt()
    latents, _ = painted(state(schedule, inner_steps=INNER_STEPS), prediction_type)
    assert torch.equal(latents[:, KNOWN], KNOWN_VALUES.expand(SAMPLES, -1))
    actual = distribution(latents)
    print(name, (actual.mean - expected.mean) / deviation, (actual.covariance - expected.covariance).norm() / expected.covariance.norm())
    assert ((actual.mean - expected.mean) / deviation).abs().max() < 0.15
    assert (actual.covariance - expected.covariance).norm() < 0.15 * expected.covariance.norm()

    blended, _ = painted(state(schedule, inner_steps=0), prediction_type)
    without = distribution(blended)
    print((without.mean - expected.mean) / deviation, (without.covariance - expected.covariance).norm() / expected.covariance.norm())
    assert ((without.mean - expected.mean) / deviation).abs().max() > 1
    assert (without.covariance - expected.covariance).norm() > expected.covariance.norm()
