"""Schedulers use their own settings only; a model's configuration also holds those of the scheduler saved with it."""

from __future__ import annotations

import inspect
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from diffusers import LCMScheduler, UniPCMultistepScheduler

from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.serving.model_loading import load
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


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_latents_are_never_clipped_to_the_range_of_pixels(name: str) -> None:
    scheduler, _ = schedulers.make(name, {"clip_sample": True, "thresholding": True})
    assert not schedulers.config_value(scheduler, "clip_sample")
    assert not schedulers.config_value(scheduler, "thresholding")
