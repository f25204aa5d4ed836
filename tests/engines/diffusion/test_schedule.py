"""A schedule takes the steps of diffusers' scheduler objects, without waiting for the device, and can repeat them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch.utils._python_dispatch import TorchDispatchMode

from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.sampling import flow_schedulers, schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, advance
from inpainting.engines.diffusion.sampling.schedule import Schedule
from tests.support.matrix import each_value_once

CONFIG = {name: value for name, value in DDIMScheduler().config.items() if name != "_use_default_values"}
"""diffusers would replace the values that it lists as defaults."""
STEPS = 12
DRAWING = frozenset(
    {"DDPMScheduler", "EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "LCMScheduler"}
)
"""Schedulers that draw noise in a step, on the CPU."""


def begun(name: str, strength: float = 1.0, prediction_type: str = "epsilon") -> Schedule:
    if name in FLOW_SCHEDULERS:
        scheduler, _ = flow_schedulers.make(name, {})
        return Schedule(scheduler, flow_schedulers.begin(scheduler, {}, steps=STEPS, strength=strength, patches=64))
    scheduler, _ = schedulers.make(name, {**CONFIG, "prediction_type": prediction_type})
    return Schedule(scheduler, schedulers.begin(scheduler, STEPS, strength))


def state(name: str, *, seed: int) -> DenoisingState:
    schedule, generator = begun(name), torch.Generator().manual_seed(seed)
    image, noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    text = TextConditioning(torch.zeros(2, 1, 1))
    return DenoisingState(noise, text, 3.0, schedule, mask, None, image, noise, generator)


def prediction(latents: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.cos(3 * latents), torch.sin(2 * latents)])


@pytest.mark.parametrize(("strength", "prediction_type"), each_value_once([1.0, 0.5], ["epsilon", "v_prediction"]))
@pytest.mark.parametrize("name", schedulers.NAMES)
def test_all_steps_equal_those_of_the_scheduler_although_each_is_taken_twice(
    name: str, strength: float, prediction_type: str
) -> None:
    ours, theirs = (begun(name, strength, prediction_type) for _ in range(2))
    scheduler, generator = theirs.scheduler, torch.Generator().manual_seed(5)
    image, noise, latents = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    arguments = {"generator": generator} if name in DRAWING | {"DDIMScheduler"} else {}
    for timestep in theirs.timesteps:
        noised = scheduler.add_noise(image, noise, timestep[None])
        torch.testing.assert_close(ours.noised(image, noise), noised, rtol=1e-5, atol=1e-5)
        scaled = scheduler.scale_model_input(latents, timestep)
        assert torch.equal(ours.scaled(latents), scaled)
        drawn = generator.clone_state()
        following, *rest = scheduler.step(torch.cos(scaled), timestep, latents, return_dict=False, **arguments)
        ours.step(torch.sin(scaled), latents, drawn.clone_state())
        ours, repeated, estimate = ours.step(torch.cos(scaled), latents, drawn)
        assert torch.equal(repeated, following)
        expected = rest[0] if rest else schedulers.pred_original_sample(scheduler)
        assert (estimate is None) if expected is None else torch.equal(estimate, expected)
        latents = following
    assert ours.is_done
    assert ours.noised(image, noise) is image


@pytest.mark.parametrize("name", ["PNDMScheduler", "EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler"])
def test_a_step_that_fails_for_one_image_changes_none_and_can_be_taken_again(name: str) -> None:
    failing, alone = ([state(name, seed=seed) for seed in (1, 2)] for _ in range(2))
    while not alone[0].is_done:
        answers = [prediction(one.latents) for one in failing]
        with pytest.raises(RuntimeError):
            advance(failing, [answers[0], answers[1][..., :5]])
        advance(failing, answers)
        for one in alone:
            one.advance(prediction(one.latents))
        for one, other in zip(failing, alone, strict=True):
            assert one.index == other.index
            assert torch.equal(one.latents, other.latents)


class Copies(TorchDispatchMode):  # type: ignore[misc]  # torch gives it no type
    """Counts the copies of tensors from the CPU to the device, within the context."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket.__name__ in ("to", "_to_copy", "copy_"):
            self.count += result.device != args[0].device
        return result


@pytest.mark.parametrize(
    "name", [*(name for name in schedulers.NAMES if name != "UniPCMultistepScheduler"), *FLOW_SCHEDULERS]
)
def test_a_step_waits_for_the_device_only_to_copy_what_it_draws(name: str) -> None:
    """Reading a number of the device `meta` raises an error. UniPC solves for its weights on the device."""
    schedule, latents, generator = begun(name), torch.zeros(1, 4, 8, 8, device="meta"), torch.Generator()
    while not schedule.is_done:
        with Copies() as copies:
            scaled = schedule.scaled(latents)
            schedule, latents, _ = schedule.step(scaled, latents, generator)
        assert copies.count <= (name in DRAWING)
        schedule.noised(latents, latents)
