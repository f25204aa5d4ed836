"""LanPaint samples the conditional distribution of a Gaussian; blending with the noised source does not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.sampling import flow_schedulers, lanpaint, schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.sampling.lanpaint import MAX_SHIFT, STRENGTH, langevin_step
from inpainting.engines.diffusion.sampling.schedule import Schedule
from inpainting.engines.diffusion.serving.loading.model_loading import load
from tests.engines.diffusion.pipelines import CPU, request
from tests.support import tiny_models

FLOW = "flow"
SECOND_ORDER = {
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    FLOW_SCHEDULERS[1],
}
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


class Errors(NamedTuple):
    """mean: the largest, in standard deviations. covariance: the norm of the error, as a share of the norm."""

    mean: float
    covariance: float


def errors(actual: Gaussian, expected: Gaussian) -> Errors:
    shares = (actual.mean - expected.mean) / expected.covariance.diagonal().sqrt()
    difference = actual.covariance - expected.covariance
    return Errors(float(shares.abs().max()), float(difference.norm() / expected.covariance.norm()))


@pytest.mark.parametrize(
    ("name", "prediction_type"),
    [
        *[(name, "epsilon") for name in schedulers.NAMES],
        *[(name, FLOW) for name in FLOW_SCHEDULERS],
        ("DDIMScheduler", "sample"),
        ("DDIMScheduler", "v_prediction"),
        ("EulerDiscreteScheduler", "v_prediction"),
    ],
)
def test_the_unknown_part_has_the_conditional_distribution(name: str, prediction_type: str) -> None:
    schedule = begun(name, prediction_type)
    latents, calls = painted(state(schedule, inner_steps=INNER_STEPS), prediction_type)
    assert torch.equal(latents[:, KNOWN], KNOWN_VALUES.expand(SAMPLES, -1))
    assert calls == (1 + INNER_STEPS) * math.ceil(len(schedule) / (2 if name in SECOND_ORDER else 1))
    found = errors(distribution(latents), conditional())
    assert found.mean < 0.15
    assert found.covariance < 0.15


@pytest.mark.parametrize(("name", "prediction_type"), [("DDIMScheduler", "epsilon"), (FLOW_SCHEDULERS[0], FLOW)])
def test_blending_with_the_noised_source_does_not_give_the_conditional_distribution(
    name: str, prediction_type: str
) -> None:
    latents, calls = painted(state(begun(name), inner_steps=0), prediction_type)
    found = errors(distribution(latents), conditional())
    assert calls == STEPS
    assert found.mean > 1
    assert found.covariance > 1


def test_langevin_steps_have_the_stationary_distribution_of_their_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the estimate of the known part agrees with the latents, the BiG score pulls to the source alone."""
    monkeypatch.setattr(lanpaint, "MAX_SHIFT", math.inf)
    generator, weights = torch.Generator().manual_seed(3), (0.6, 0.8)
    latents = torch.zeros(1, 1, 4000, 2)
    known, image = torch.tensor([True, False]).expand_as(latents), torch.full_like(latents, 2.0)
    for _ in range(40):
        estimate = torch.where(known, latents / weights[0], 3.0)
        latents = langevin_step(latents, estimate, image, known, weights, 0.2, generator)
    of_known, of_unknown = latents[0, 0].T
    assert (float(of_known.mean()), float(of_unknown.mean())) == pytest.approx((1.2, 1.8), abs=0.05)
    assert (float(of_known.var()), float(of_unknown.var())) == pytest.approx((0.64 / (1 + STRENGTH), 0.64), rel=0.1)


@pytest.mark.parametrize("gain", [-10.0, 0.0, 10.0])
def test_the_known_part_stays_near_the_source_whatever_the_network_estimates(gain: float) -> None:
    generator, weights = torch.Generator().manual_seed(3), (0.6, 0.8)
    image = latents = torch.full((1, 1, 100, 1), 2.0)
    known = torch.ones_like(latents, dtype=torch.bool)
    for _ in range(100):
        latents = langevin_step(latents, gain * latents, image, known, weights, 0.2, generator)
    noise = (latents - weights[0] * image) / weights[1]
    assert noise.abs().max() < MAX_SHIFT + 3


@pytest.mark.parametrize(("inner_steps", "most"), [(1, 0.16), (2, 0.12), (3, 0.12), (10, 0.12), (20, 0.1)])
@pytest.mark.parametrize(("name", "prediction_type"), [("DDIMScheduler", "epsilon"), (FLOW_SCHEDULERS[0], FLOW)])
def test_few_inner_steps_come_as_close_as_many(name: str, prediction_type: str, inner_steps: int, most: float) -> None:
    latents, _ = painted(state(begun(name), inner_steps=inner_steps), prediction_type)
    assert max(errors(distribution(latents), conditional())) < most


def test_a_grey_part_is_known_until_its_share_of_the_steps_is_left() -> None:
    started = state(begun("DDIMScheduler"), inner_steps=2, samples=50)
    started.mask = torch.where(KNOWN, 0.5, 1.0).expand_as(started.mask)
    estimates = []
    while not started.is_done:
        started.advance(exact_prediction(started.schedule, started.latents, "epsilon"))
        assert started.pred_original_sample is not None
        estimates.append(torch.equal(started.pred_original_sample[..., KNOWN], KNOWN_VALUES.expand(1, 1, 50, -1)))
    half = 3 * STEPS // 2
    assert estimates == [True] * half + [False] * half


def test_nothing_changes_where_the_network_takes_the_masked_image_or_nothing_is_kept() -> None:
    started = state(begun("DDIMScheduler"), inner_steps=0, samples=1)
    for changes in ({"masked_image": started.image}, {"image": None}, {"mask": torch.ones_like(started.mask)}):
        changed = replace(started, **changes)
        changed.use_lanpaint(INNER_STEPS)
        assert changed.lanpaint is None
        assert changed.call_count == STEPS
    started.use_lanpaint(INNER_STEPS)
    assert started.call_count == (1 + INNER_STEPS) * STEPS


@pytest.mark.parametrize("name", ["plain", "z-image", "flux-kontext"])
def test_what_the_mask_keeps_are_the_latents_of_the_source(specs: dict[str, ModelSpec], name: str) -> None:
    model, requested = load(specs[name], CPU), request(strength=1.0, scheduler=None, steps=3)
    text = tiny_models.encoded(model, requested.settings, requested.image.size)

    def result(inner_steps: int) -> DenoisingState:
        started, _ = model.start(requested, 0, text)
        started.use_lanpaint(inner_steps)
        calls = 0
        while not started.is_done:
            (answer,) = model.predict([started])
            started.advance(answer)
            calls += 1
        assert calls == started.call_count == 3 * (1 + inner_steps)
        return started

    with_lanpaint, again, without = result(2), result(2), result(0)
    assert torch.equal(with_lanpaint.latents, again.latents)
    kept = (with_lanpaint.mask == 0).expand_as(with_lanpaint.latents)
    assert with_lanpaint.image is not None
    assert torch.equal(with_lanpaint.latents[kept], with_lanpaint.image[kept])
    assert not torch.allclose(with_lanpaint.latents[~kept], without.latents[~kept], atol=0.1)
