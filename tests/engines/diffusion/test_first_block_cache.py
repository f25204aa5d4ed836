"""The setting `cache`: an image that skips blocks is painted alone, and leaves nothing behind for others.

That the steps equal those of diffusers' pipelines is part of `FlowContract`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import Cancelled, EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Step
from inpainting.engines.diffusion import first_block_cache
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.flux_reference import request
from tests.engines.diffusion.pipelines import CPU, ignore_step

STEPS = 5


@pytest.fixture(autouse=True)
def _every_step_is_like_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip blocks in all steps but the first: in tiny networks of random weights, steps differ much."""
    monkeypatch.setattr(first_block_cache, "THRESHOLDS", {"balanced": 100.0, "fast": 100.0})


@pytest.fixture(scope="module")
def spec(specs: dict[str, ModelSpec]) -> ModelSpec:
    return specs["flux-fill"]


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9), max_rows=32)


@pytest.fixture
def whole_steps(batcher: Batcher, spec: ModelSpec) -> Iterator[list[int]]:
    """The rows of each step in which the last block computed."""
    rows: list[int] = []
    attention = batcher.cache.get(spec).network.single_transformer_blocks[-1].attn
    handle = attention.register_forward_hook(lambda module, arguments, output: rows.append(len(output)))
    yield rows
    handle.remove()


def painted(batcher: Batcher, spec: ModelSpec, requested: InpaintRequest) -> list[NDArray[np.uint8]]:
    return batcher.paint(requested, spec, ignore_step)[0]


def requested(cache: str | None = "fast", **settings: Any) -> InpaintRequest:
    return request(steps=STEPS, cache=cache, **settings)


def test_the_last_block_computes_once_for_each_image(batcher: Batcher, spec: ModelSpec, whole_steps: list[int]) -> None:
    images = painted(batcher, spec, requested(num_images=2, seed=3))
    assert whole_steps == [1, 1], "each image computes its first step whole, and alone"
    (second,) = painted(batcher, spec, requested(seed=4))
    assert np.array_equal(images[1], second)
    whole_steps.clear()
    (plain,) = painted(batcher, spec, requested("off", seed=4))
    assert whole_steps == [1] * STEPS
    assert not np.array_equal(plain, second)


def test_images_with_and_without_it_are_painted_at_once_with_the_results_of_each_alone(
    batcher: Batcher, spec: ModelSpec
) -> None:
    jobs = [requested(cache, seed=seed) for seed, cache in enumerate(["fast", None, "fast", None])]
    alone = [painted(batcher, spec, job) for job in jobs if job.settings.cache is None]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: painted(batcher, spec, job), jobs))
    for (image,), (expected,) in zip([together[1], together[3]], alone, strict=True):
        assert np.abs(image.astype(int) - expected).max() <= 1
    assert not batcher.cache.get(spec).block_cache.is_applied


@pytest.mark.parametrize("error", [Cancelled, RuntimeError])
def test_an_image_that_ends_early_leaves_no_cache(
    batcher: Batcher, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    before = painted(batcher, spec, requested(None))
    model = batcher.cache.get(spec)
    predict, calls = model.predict, count(1)

    def failing(*arguments: Any) -> Any:
        if next(calls) == 3 and error is RuntimeError:
            raise error
        return predict(*arguments)

    def on_step(step: Step) -> None:
        if error is Cancelled and step.done == 2:
            raise error

    monkeypatch.setattr(model, "predict", failing)
    with pytest.raises((Cancelled, EngineFailed)):
        batcher.paint(requested(), spec, on_step)
    assert np.array_equal(painted(batcher, spec, requested(None)), before)
    assert not model.block_cache.is_applied


def test_steps_are_computed_plainly_where_the_network_is_compiled(batcher: Batcher, spec: ModelSpec) -> None:
    model = batcher.cache.get(spec)
    model._compiled = Mock(side_effect=model.network, rejection=None)
    painted(batcher, spec, requested())
    assert not model._compiled.called, "a compiled network would skip nothing"
    painted(batcher, spec, requested("off"))
    assert model._compiled.call_count == STEPS
