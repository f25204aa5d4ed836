"""Schedulers use their own settings only; a model's configuration also holds those of the scheduler saved with it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import pytest
import torch
from diffusers import LCMScheduler, UniPCMultistepScheduler

from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.serving.loading.model_loading import load
from tests.engines.diffusion.pipelines import CPU, ddim_request, denoised
from tests.support import tiny_models


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_only_the_scheduler_of_a_consistency_model_has_its_few_steps(name: str) -> None:
    scheduler, _ = schedulers.make(name, LCMScheduler(original_inference_steps=50).config)
    most = 50 if name == "LCMScheduler" else 1000
    assert schedulers.max_steps(scheduler) == most


@pytest.mark.parametrize(("name", "guesses"), [("UniPCMultistepScheduler", True), ("DEISMultistepScheduler", False)])
def test_the_predicted_original_is_read_only_from_schedulers_that_predict_it(name: str, guesses: bool) -> None:
    scheduler, _ = schedulers.make(name, UniPCMultistepScheduler(predict_x0=True).config)
    first = schedulers.begin(scheduler, 5, 1.0)[0]
    scheduler.step(torch.ones(1, 4, 8, 8), first, torch.ones(1, 4, 8, 8))
    assert (schedulers.pred_original_sample(scheduler) is not None) is guesses


def test_no_step_reads_a_signature(tmp_path: Path) -> None:
    model = load(tiny_models.saved(tmp_path / "model"), CPU)
    requested = ddim_request(scheduler="DPMSolverMultistepScheduler")
    denoised(model, requested)
    text = tiny_models.encoded(model, requested.settings, requested.image.size)
    state, _ = model.start(requested, 0, text)
    with patch.object(inspect, "signature", wraps=inspect.signature) as read:
        while not state.is_done:
            state.advance(torch.zeros(state.rows, *state.latents.shape[1:]))
    assert read.call_count == 0


OTHER_VALUES = {bool: lambda value: not value, int: lambda value: value + 1, float: lambda value: value + 0.25}
"""Makes another value of a parameter from its default, by the type of that."""
CHOICES: dict[str, Any] = {
    "variance_type": "learned",
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
    "beta_schedule": "squaredcos_cap_v2",
    "final_sigmas_type": "sigma_min",
    "interpolation_type": "log_linear",
    "timestep_type": "continuous",
    "sigma_min": 0.1,
    "sigma_max": 10.0,
}
"""Other values of parameters that are words, or have no default."""
EXCLUDING = {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "rescale_betas_zero_snr", "predict_x0"}
"""Parameters of which a scheduler refuses some together with others."""


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_a_scheduler_has_the_values_of_the_model_but_those_that_are_named(name: str) -> None:
    scheduler_class = getattr(diffusers, name)
    parameters = list(inspect.signature(scheduler_class.__init__).parameters.values())[1:]
    usual = {name: value for name, value in scheduler_class().config.items() if not name.startswith("_")}
    config = {**usual, "clip_sample": False, "skip_prk_steps": True}
    changed = 0
    for parameter in parameters:
        make_other: Any = OTHER_VALUES.get(type(parameter.default))
        if parameter.name in CHOICES:
            value = CHOICES[parameter.name]
        elif make_other is not None and parameter.name not in EXCLUDING:
            value = make_other(parameter.default)
        else:
            continue
        own = {**config, parameter.name: value}
        scheduler, _ = schedulers.make(name, own)
        replaced = {key: new for key, new in schedulers.latent_values(own).items() if own.get(key) != new}
        assert scheduler.config[parameter.name] == replaced.get(parameter.name, value), parameter.name
        assert replaced.keys() <= {"clip_sample", "thresholding", "skip_prk_steps", "variance_type"}
        changed += 1
    assert changed >= 5


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_latents_are_never_clipped_to_the_range_of_pixels(name: str) -> None:
    scheduler, _ = schedulers.make(name, {"clip_sample": True, "thresholding": True})
    assert not schedulers.config_value(scheduler, "clip_sample")
    assert not schedulers.config_value(scheduler, "thresholding")


@pytest.mark.parametrize("name", ["DDPMScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"])
@pytest.mark.parametrize("variance", schedulers.LEARNED_VARIANCES)
def test_a_variance_that_no_network_predicts_is_not_looked_for(name: str, variance: str) -> None:
    """diffusers' schedulers fail, because they split the prediction."""
    scheduler, _ = schedulers.make(name, {"variance_type": variance})
    first = schedulers.begin(scheduler, 5, 1.0)[0]
    following = scheduler.step(torch.ones(1, 4, 8, 8), first, torch.ones(1, 4, 8, 8)).prev_sample
    assert following.shape == (1, 4, 8, 8)
