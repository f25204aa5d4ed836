"""A scheduler goes by its own settings: a model's configuration also holds those of the one it was saved with."""

from __future__ import annotations

import pytest
import torch
from diffusers import LCMScheduler, UniPCMultistepScheduler

from inpainting.engines.diffusion import schedulers


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_only_a_consistency_models_own_scheduler_has_its_few_steps(name: str) -> None:
    scheduler, _ = schedulers.make(name, LCMScheduler(original_inference_steps=50).config)
    most = 50 if name == "LCMScheduler" else 1000
    assert schedulers.max_steps(scheduler) == most


@pytest.mark.parametrize(("name", "guesses"), [("UniPCMultistepScheduler", True), ("DEISMultistepScheduler", False)])
def test_what_a_scheduler_thought_is_a_picture_only_where_it_predicts_one(name: str, guesses: bool) -> None:
    scheduler, _ = schedulers.make(name, UniPCMultistepScheduler(predict_x0=True).config)
    first = schedulers.begin(scheduler, 5, 1.0)[0]
    scheduler.step(torch.ones(1, 4, 8, 8), first, torch.ones(1, 4, 8, 8))
    assert (schedulers.pred_original_sample_of(scheduler) is not None) is guesses
