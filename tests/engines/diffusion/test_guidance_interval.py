"""Guidance in an interval of steps equals diffusers' with a callback; unguided steps take one row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.core.errors import InvalidRequest
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.sd.network import StableDiffusion
from tests.engines.diffusion.pipelines import (
    CPU,
    KINDS,
    STEPS,
    denoised,
    ignore_step,
    reference_of,
    request,
    run_reference,
)
from tests.engines.diffusion.serving.batches import UNetCalls
from tests.support import tiny_models
from tests.support.matrix import each_value_once

GUIDANCE = 7.5


def diffusers_result(model: StableDiffusion, requested: InpaintRequest, guided: range) -> Any:
    """The reference pipeline with a callback that switches guidance between steps, as in diffusers' guide."""
    settings = requested.settings
    reference = reference_of(model, requested)
    positive, negative, *pooled = reference.encode_prompt(
        prompt=settings.prompt,
        device=CPU.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt=settings.negative_prompt,
    )
    texts = {"prompt_embeds": torch.cat([negative, positive])}
    if pooled:
        texts["add_text_embeds"] = torch.cat(pooled[::-1])
    was_guided = 0 in guided

    def switch(pipeline: Any, index: int, time: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        nonlocal was_guided
        tensors.pop("latents")
        is_guided = index + 1 in guided
        if is_guided != was_guided:
            was_guided = is_guided
            # diffusers' own way to change it in a callback ("Dynamic classifier-free guidance" in its documentation)
            pipeline._guidance_scale = GUIDANCE if is_guided else 1.0
            for name, tensor in tensors.items():
                tensors[name] = texts.get(name, torch.cat([tensor] * 2)) if is_guided else tensor.chunk(2)[-1]
        return tensors

    names = ["latents", "prompt_embeds", "mask", "masked_image_latents"]
    if model.spec.family == "sdxl":
        names += ["add_text_embeds", "add_time_ids"]
    return run_reference(
        reference,
        model.spec,
        requested,
        guidance_scale=GUIDANCE if was_guided else 1.0,
        callback_on_step_end=switch,
        callback_on_step_end_tensor_inputs=names,
    )


@pytest.mark.parametrize(
    ("family", "inpainting", "name", "interval", "guided"),
    each_value_once(
        KINDS,
        ["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"],
        [
            ({"guidance_end": 0.6}, range(3)),
            ({"guidance_start": 0.4}, range(2, STEPS)),
            ({"guidance_start": 0.2, "guidance_end": 0.8}, range(1, 4)),
        ],
    ),
)
def test_guidance_in_an_interval_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion],
    family: str,
    inpainting: bool,
    name: str,
    interval: dict[str, Any],
    guided: range,
) -> None:
    model = models[family, inpainting]
    requested = request(scheduler=name, strength=1.0, guidance_scale=GUIDANCE, **interval)
    latents = denoised(model, requested)
    torch.testing.assert_close(latents, diffusers_result(model, requested, guided), rtol=1e-4, atol=1e-4)
    always = request(scheduler=name, strength=1.0, guidance_scale=GUIDANCE)
    assert not torch.allclose(latents, denoised(model, always), atol=1e-2)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_a_step_without_guidance_takes_one_row(models: dict[tuple[str, bool], StableDiffusion], family: str) -> None:
    batcher, spec = Batcher(ModelCache(CPU, 10**9), max_rows=32), models[family, True].spec
    calls = UNetCalls(batcher, spec)
    requested = partial(request, scheduler="DDIMScheduler", strength=1.0)
    batcher.paint(requested(guidance_start=0.2, guidance_end=0.6), spec, ignore_step)
    assert calls.rows == [1, 2, 2, 1, 1]
    calls.rows.clear()
    _, notes = batcher.paint(requested(guidance_start=0.5, guidance_end=0.6), spec, ignore_step)
    assert calls.rows == [1] * STEPS
    assert notes == ("No step lies between guidance_start and guidance_end: none was guided.",)


def test_samples_with_guidance_in_later_steps_reserve_their_rows(
    models: dict[tuple[str, bool], StableDiffusion],
) -> None:
    batcher, spec = Batcher(ModelCache(CPU, 10**9), max_rows=4), models["sd", True].spec
    intervals: list[dict[str, Any]] = [*[{"guidance_start": 0.5}] * 3, {"guidance_end": 0.5}]
    requested = [
        request(scheduler="DDIMScheduler", seed=seed, strength=1.0, steps=10, **interval)
        for seed, interval in enumerate(intervals)
    ]
    calls = UNetCalls(batcher, spec, held=True)
    with ThreadPoolExecutor(len(requested)) as pool:
        futures = [pool.submit(batcher.paint, sent, spec, ignore_step) for sent in requested]
        assert calls.begun.wait(30)
        calls.go.set()
        results = [future.result(60)[0][0] for future in futures]
    assert max(calls.rows) <= 4
    for sent, result in zip(requested, results, strict=True):
        alone = Batcher(ModelCache(CPU, 10**9), max_rows=1).paint(sent, spec, ignore_step)[0][0]
        assert np.abs(result.astype(int) - alone).max() <= 1


@pytest.mark.parametrize(
    ("count", "start", "end", "steps"),
    [
        (10, None, None, range(10)),
        (10, 0.3, 0.7, range(3, 7)),
        (5, 0.6, None, range(3, 5)),
        (5, 0.59, 0.61, range(0)),
        (7, 0.0, 1.0, range(7)),
        (1, 0.0, 0.99, range(0)),
    ],
)
def test_a_step_is_guided_if_it_lies_fully_inside_the_interval(
    count: int, start: float | None, end: float | None, steps: range
) -> None:
    assert schedulers.steps_within(count, start, end) == steps


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.7, 0.3), (1.0, None), (None, 0.0)])
def test_an_interval_that_ends_before_it_starts_is_refused(interval: tuple[float | None, float | None]) -> None:
    with pytest.raises(InvalidRequest, match="it must start before it ends") as refused:
        PaintSettings(guidance_start=interval[0], guidance_end=interval[1])
    assert refused.value.field == "guidance_start"


def test_a_guidance_distilled_unet_gives_notes_about_ignored_settings(tmp_path: Path) -> None:
    model = load(tiny_models.saved(tmp_path / "sd"), CPU)
    model.unet = tiny_models.unet(9, cross_attention_dim=tiny_models.FEATURES, time_cond_proj_dim=32).eval()

    def notes(**settings: Any) -> list[str]:
        requested = PaintSettings(prompt="a red bus", guidance_scale=5.0, **settings)
        return [note.partition(": ")[2] for note in model.tokenize(requested).notes]

    assert notes() == notes(guidance_start=0.0, guidance_end=1.0) == []
    assert notes(negative_prompt="blur") == ["the negative prompt was not read."]
    for interval in ({"guidance_start": 0.2}, {"guidance_end": 0.8}):
        assert notes(**interval) == ["guidance_start and guidance_end changed nothing."]
