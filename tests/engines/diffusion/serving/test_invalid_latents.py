"""Latents that are not finite: noticed at that step, computed again in bfloat16 where float16 was too small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.base import Step
from inpainting.engines.diffusion.placed_model import OVERFLOWED
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import FiniteCheck, Hardware
from tests.engines.diffusion.conditioning import adapter_requests
from tests.engines.diffusion.pipelines import ignore_step
from tests.engines.diffusion.serving.batches import STEPS, request
from tests.support import tiny_adapters, tiny_models
from tests.support.matrix import first_alone

OVERFLOW_AT = 3


def batcher(dtype: torch.dtype) -> Batcher:
    return Batcher(ModelCache(Hardware(torch.device("cpu"), dtype), 10**9), max_rows=4)


def overflow(
    engine: Batcher, spec: ModelSpec, *, when: Callable[[Any], bool] = lambda model: True, at: int = OVERFLOW_AT
) -> list[int]:
    """Make a model's predictions infinite from its call number `at` on. Returns the list of its calls."""
    model, calls = engine.cache.get(spec), []
    predict = model.predict

    def overflowing(samples: Any, backend: Any) -> Any:
        calls.append(len(samples))
        predictions = predict(samples, backend)
        is_over = len(calls) >= at and when(model)
        return [prediction * torch.inf for prediction in predictions] if is_over else predictions

    model.predict = overflowing
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_latents_that_are_not_finite_fail_at_that_step(tmp_path: Path, dtype: torch.dtype) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    engine = batcher(dtype)
    calls = overflow(engine, spec)
    with pytest.raises(EngineFailed) as failed:
        engine.paint(request(), spec, ignore_step)
    assert failed.value.code == "model_produced_invalid_output"
    assert len(calls) == OVERFLOW_AT


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
def test_a_model_that_overflows_in_float16_paints_in_bfloat16_with_a_note(tmp_path: Path, family: str) -> None:
    spec = tiny_models.saved(tmp_path / "one", family)
    expected, _ = batcher(torch.bfloat16).paint(request(num_images=2), spec, ignore_step)
    engine = batcher(torch.float16)
    calls = overflow(engine, spec, when=lambda model: model.unet.dtype == torch.float16)
    steps: list[Step] = []
    images, notes = engine.paint(request(num_images=2), spec, steps.append)
    assert notes == (OVERFLOWED,)
    assert len(calls) == OVERFLOW_AT + STEPS
    assert {step.computed_by for step in steps if step.done == 2 * STEPS} == {"torch, bfloat16"}
    assert max(step.done for step in steps) == 2 * STEPS
    for image, other in zip(images, expected, strict=True):
        assert np.abs(image.astype(int) - other).mean() < 4


@pytest.mark.parametrize("at", [1, OVERFLOW_AT, STEPS])
def test_an_answer_that_comes_one_step_later_is_read_then_or_before_decoding(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FiniteCheck, "is_queued", True)
    spec = tiny_models.saved(tmp_path / "one")
    engine = batcher(torch.float16)
    calls = overflow(engine, spec, when=lambda model: model.unet.dtype == torch.float16, at=at)
    steps: list[Step] = []
    assert engine.paint(request(), spec, steps.append)[1] == (OVERFLOWED,)
    assert len(calls) == min(at + 1, STEPS) + STEPS
    assert max(step.done for step in steps) == STEPS


def test_adapters_loaded_in_float16_work_with_a_model_in_bfloat16(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    engine = batcher(torch.float16)
    control = tiny_adapters.saved_controlnet(tmp_path / "control", "sd", ControlImageKind.CANNY)
    tensors = tiny_adapters.adapter(engine.cache.get(spec).unet)
    prompt = tiny_adapters.saved_adapter(tmp_path / "prompt", "sd", {k: tensor.half() for k, tensor in tensors.items()})
    overflow(engine, spec, when=lambda model: model.unet.dtype == torch.float16)
    images, notes = engine.paint(adapter_requests.request(), spec, ignore_step, (), (control, prompt))
    assert notes == (OVERFLOWED,)
    assert images[0].std() > 0
