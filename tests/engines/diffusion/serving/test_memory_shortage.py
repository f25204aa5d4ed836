"""Memory that was short once does not make a model save memory for ever: its usual way is tried again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.engines.diffusion.memory_shortage import MAX_RETRY_AFTER, RETRY_AFTER, MemoryShortage
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job, JobSucceeded
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request

SMALL, LARGE = Size(64, 64), Size(128, 64)


class ShortMemory:
    """The next `count` calls of a model's UNet find memory short."""

    def __init__(self, model: Any) -> None:
        self.count = 0
        model.unet.register_forward_pre_hook(self)

    def __call__(self, module: torch.nn.Module, arguments: Any) -> None:
        if self.count:
            self.count -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9))


def is_reduced(notes: tuple[str, ...]) -> bool:
    return any("Memory was short" in note for note in notes)


def test_after_some_images_the_usual_way_is_tried_again(specs: dict[str, ModelSpec], batcher: Batcher) -> None:
    model = batcher.cache.get(specs["sd"])
    memory = ShortMemory(model)
    memory.count = 1
    reduced = [is_reduced(batcher.paint(request(steps=1), specs["sd"], ignore_step)[1]) for _ in range(RETRY_AFTER + 2)]
    assert reduced == [True] * RETRY_AFTER + [False] * 2
    assert not model.is_tiled
    memory.count = 1
    for _ in range(2 * RETRY_AFTER):
        assert is_reduced(batcher.paint(request(steps=1), specs["sd"], ignore_step)[1]), "it was short again soon"
    assert not is_reduced(batcher.paint(request(steps=1), specs["sd"], ignore_step)[1])


def test_a_model_that_is_always_in_use_is_tried_too(specs: dict[str, ModelSpec], batcher: Batcher) -> None:
    """The images that are in progress then say that memory was short."""
    model = batcher.cache.get(specs["sd"])
    memory = ShortMemory(model)
    memory.count = 1
    jobs = [Job(request(steps=3 * RETRY_AFTER), specs["sd"])]
    batcher.workload.add(jobs[0])
    while not jobs[0].is_done or len(jobs) < 2 * RETRY_AFTER:
        if len(batcher.workload.batches[0].samples if batcher.workload.batches else ()) < 2:
            jobs.append(Job(request(steps=1), specs["sd"]))
            batcher.workload.add(jobs[-1])
        batcher.run_once()
    while not batcher.workload.is_idle:
        batcher.run_once()
    reduced = [is_reduced(notes_of(job)) for job in jobs]
    assert reduced == [True] * sum(reduced) + [False] * (len(jobs) - sum(reduced))
    assert RETRY_AFTER <= sum(reduced) <= RETRY_AFTER + 2
    assert not all(reduced)


def test_small_images_beside_large_ones_are_not_tried_with_each_image() -> None:
    shortage = MemoryShortage()
    shortage.begin(LARGE)
    assert shortage.fits(SMALL)
    assert not shortage.fits(LARGE)
    assert not shortage.is_over


def test_where_memory_stays_short_it_is_tried_more_and_more_seldom() -> None:
    shortage, waits = MemoryShortage(), []
    for _ in range(10):
        shortage.begin(LARGE)
        while not shortage.is_over:
            shortage.image_count += 1
        waits.append(shortage.image_count)
        shortage.end()
    assert waits[:3] == [RETRY_AFTER, 2 * RETRY_AFTER, 4 * RETRY_AFTER]
    assert waits[-1] == MAX_RETRY_AFTER
    shortage.image_count = MAX_RETRY_AFTER  # all of them whole
    shortage.begin(LARGE)
    assert shortage.retry_after == RETRY_AFTER


def notes_of(job: Job) -> tuple[str, ...]:
    while not isinstance(message := job.messages.get_nowait(), JobSucceeded):
        assert not isinstance(message, Exception)
    return message.notes
