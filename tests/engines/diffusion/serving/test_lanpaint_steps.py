"""Images with LanPaint share steps with others: each call of the network is a step of the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.engines.base import Step
from inpainting.engines.diffusion.placed_model import OVERFLOWED
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import STEPS, UNetCalls, request
from tests.support import tiny_models

INNER_STEPS = 2


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A model that is not trained to fill a mask."""
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "plain", inpainting=False)


def painted(spec: ModelSpec, steps: list[Step] | None = None, **settings: Any) -> tuple[Any, list[int]]:
    """Return the image and the rows of each call of the network, painted alone."""
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=1)
    calls = UNetCalls(batcher, spec)
    images, _ = batcher.paint(request(**settings), spec, ignore_step if steps is None else steps.append)
    return images[0], calls.rows


def test_each_step_takes_one_call_more_for_each_inner_step(plain: ModelSpec) -> None:
    steps: list[Step] = []
    image, calls = painted(plain, steps, lanpaint_steps=INNER_STEPS, guidance_scale=1.0)
    assert calls == [1] * STEPS * (1 + INNER_STEPS)
    assert [(step.done, step.of) for step in steps] == [(done, len(calls)) for done in range(1, len(calls) + 1)]
    assert np.array_equal(image, painted(plain, lanpaint_steps=INNER_STEPS, guidance_scale=1.0)[0])
    assert not np.array_equal(image, painted(plain, lanpaint_steps=INNER_STEPS, guidance_scale=1.0, seed=8)[0])


def test_without_inner_steps_nothing_changes(plain: ModelSpec) -> None:
    image, calls = painted(plain)
    same, same_calls = painted(plain, lanpaint_steps=0)
    assert np.array_equal(image, same)
    assert calls == same_calls == [2] * STEPS
    assert not np.array_equal(image, painted(plain, lanpaint_steps=1)[0])


def test_a_model_that_is_trained_to_fill_paints_as_without(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "filling")
    image, calls = painted(spec, lanpaint_steps=INNER_STEPS)
    assert calls == [2] * STEPS
    assert np.array_equal(image, painted(spec)[0])


def test_images_with_and_without_lanpaint_share_calls_and_equal_those_painted_alone(plain: ModelSpec) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=8)
    calls = UNetCalls(batcher, plain, held=True)
    sent: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2, "lanpaint_steps": 1},
        {"seed": 3, "lanpaint_steps": INNER_STEPS},
    ]
    with ThreadPoolExecutor(len(sent)) as pool:
        futures = [pool.submit(batcher.paint, request(**settings), plain, ignore_step) for settings in sent]
        assert calls.begun.wait(30)
        calls.go.set()
        images = [future.result(60)[0][0] for future in futures]
    assert max(calls.rows) > 2
    assert sum(calls.rows) == 2 * STEPS * (1 + 2 + 3)
    for settings, image in zip(sent, images, strict=True):
        assert np.abs(image.astype(int) - painted(plain, **settings)[0]).max() <= 1


def test_progress_is_right_after_an_image_started_again(plain: ModelSpec) -> None:
    batcher, calls = Batcher(ModelCache(Hardware(torch.device("cpu"), torch.float16), 10**9), max_rows=4), []
    model = batcher.cache.get(plain)
    predict = model.predict

    def overflowing(samples: Any, backend: Any) -> Any:
        calls.append(len(samples))
        is_over = len(calls) == 5 and model.unet.dtype == torch.float16
        return [prediction * torch.inf if is_over else prediction for prediction in predict(samples, backend)]

    model.predict = overflowing
    steps: list[Step] = []
    _, notes = batcher.paint(request(lanpaint_steps=INNER_STEPS), plain, steps.append)
    assert notes == (OVERFLOWED,)
    assert len(calls) == 5 + STEPS * (1 + INNER_STEPS)
    assert steps[-1].done == steps[-1].of == STEPS * (1 + INNER_STEPS)
