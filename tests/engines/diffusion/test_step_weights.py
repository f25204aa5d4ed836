"""A step of all images together equals the steps of diffusers' scheduler objects, in a few operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.backends.torch import Backend
from inpainting.engines.diffusion.denoising import DenoisingState, advance
from inpainting.engines.diffusion.serving.model_loading import load
from inpainting.engines.diffusion.step_weights import read_weights
from inpainting.families.sd.network import StableDiffusion
from inpainting.networks.device.hardware import finite_checks
from tests.engines.diffusion.operations import Operations
from tests.engines.diffusion.pipelines import CPU, request
from tests.support import tiny_models
from tests.support.matrix import each_value_once


class NoNetwork(Backend):
    """Predicts the latents, without an operation."""

    def predict(self, unet: Any, sample: torch.Tensor, timesteps: torch.Tensor, **conditions: Any) -> torch.Tensor:
        return sample[:, :4]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    loaded = load(tiny_models.saved(tmp_path_factory.mktemp("models") / "sd", inpainting=False), CPU)
    assert isinstance(loaded, StableDiffusion)
    return loaded


def started(model: StableDiffusion, **settings: Any) -> DenoisingState:
    requested = request(**settings)
    text = tiny_models.encoded(model, requested.settings, requested.image.size)
    return model.start(requested, 0, text)[0]


def answer(state: DenoisingState) -> torch.Tensor:
    """A prediction that depends on the latents."""
    rows = state.latents.expand(state.rows, -1, -1, -1)
    return torch.cos(3 * rows) + torch.arange(state.rows)[:, None, None, None]


@pytest.mark.parametrize(("strength", "prediction_type"), each_value_once([1.0, 0.5], ["epsilon", "v_prediction"]))
@pytest.mark.parametrize("name", schedulers.NAMES)
def test_all_steps_equal_those_of_the_scheduler(
    model: StableDiffusion, name: str, strength: float, prediction_type: str
) -> None:
    config = {**model.scheduler_config, "prediction_type": prediction_type}
    (ours, _), (theirs, _) = schedulers.make(name, config), schedulers.make(name, config)
    weights = read_weights(ours, schedulers.begin(ours, 12, strength))
    assert len(weights.terms) <= 8
    timesteps = schedulers.begin(theirs, 12, strength)
    generator = torch.Generator().manual_seed(1)
    image, noise, latents = torch.randn(3, 1, 4, 8, 8, generator=generator)
    empty = torch.ones(1, 1, 8, 8)
    text = tiny_models.encoded(model, request(guidance_scale=1.0).settings, request().image.size)
    state = DenoisingState(latents, text, 1.0, weights, empty, None, None, noise, torch.Generator().manual_seed(5))
    drawn = torch.Generator().manual_seed(5)
    more = {"generator": drawn} if "generator" in schedulers.parameter_names(type(theirs).step) else {}
    for index, timestep in enumerate(timesteps):
        noised = theirs.add_noise(image, noise, timestep[None])
        torch.testing.assert_close(weights.add_noise(image, noise, index), noised, rtol=1e-5, atol=1e-5)
        prediction = torch.cos(3 * theirs.scale_model_input(latents, timestep))
        latents, *rest = theirs.step(prediction, timestep, latents, return_dict=False, **more)
        state.advance(prediction)
        torch.testing.assert_close(state.latents, latents, rtol=1e-4, atol=1e-4)
        expected = rest[0] if rest else schedulers.pred_original_sample(theirs)
        if expected is None:
            assert state.pred_original_sample is None
        else:
            torch.testing.assert_close(state.pred_original_sample, expected, rtol=1e-3, atol=1e-3)
    assert state.is_done


def test_images_with_different_schedulers_and_guidance_advance_together_as_alone(model: StableDiffusion) -> None:
    several = [
        {"scheduler": "UniPCMultistepScheduler", "steps": 7},
        {"scheduler": "EulerAncestralDiscreteScheduler", "guidance_scale": 1.0},
        {"scheduler": "DDIMScheduler", "guidance_rescale": 0.5, "seed": 8},
    ]
    alone, together = ([started(model, strength=1.0, **settings) for settings in several] for _ in range(2))
    for _ in range(4):
        for state in alone:
            state.advance(answer(state))
        advance(together, [answer(state) for state in together])
    for single, other in zip(alone, together, strict=True):
        torch.testing.assert_close(single.latents, other.latents, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_a_step_takes_as_many_operations_for_eight_images_as_for_one(model: StableDiffusion, name: str) -> None:
    backend = NoNetwork()
    counts = []
    for images in (1, 8):
        states = [started(model, scheduler=name, seed=seed, strength=0.9) for seed in range(images)]
        for _ in range(2):  # the first of a group stacks what stays the same
            with Operations() as operations:
                predictions = model.predict(states, backend)
                finite_checks(advance(states, predictions))
        counts.append(len(operations.names))
    assert counts[0] == counts[1] <= 25, operations.names
