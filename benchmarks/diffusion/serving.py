"""Three ways to serve requests that arrive over time, on the same clock.

Ours adds each new request to the running step batch, "one at a time" is the plain loop, and request-level batching
collects requests for a while and then runs them as one batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Step
from inpainting.engines.diffusion.serving.batcher import Batcher

Images = list[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A request that arrives `at` seconds after the start."""

    at: float
    request: InpaintRequest


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """seconds: from the first arrival to the last image. waits: of each, from arrival to image."""

    seconds: float
    waits: list[float]
    images: Images

    def wait(self, percent: float) -> float:
        return float(np.percentile(self.waits, percent))

    @property
    def images_a_second(self) -> float:
        return len(self.waits) / self.seconds

    def summary(self) -> str:
        return f"wait p50 {self.wait(50):.2f} s, p95 {self.wait(95):.2f} s, {self.images_a_second:.2f} images/s"


class Clock:
    def __init__(self) -> None:
        self.started = time.perf_counter()

    @property
    def now(self) -> float:
        return time.perf_counter() - self.started

    def sleep_until(self, then: float) -> None:
        time.sleep(max(0.0, then - self.now))


def step_by_step(arrivals: Sequence[Arrival], batcher: Batcher, spec: ModelSpec) -> Served:
    """Ours: each on a thread of its own, as the workers call it."""
    clock = Clock()

    def visit(arrival: Arrival) -> tuple[float, Any]:
        clock.sleep_until(arrival.at)
        images, _ = batcher.paint(arrival.request, spec, ignore)
        return clock.now - arrival.at, images[0]

    with ThreadPoolExecutor(len(arrivals)) as pool:
        visits = list(pool.map(visit, arrivals))
    return Served(clock.now, [wait for wait, _ in visits], [image for _, image in visits])


def ignore(step: Step) -> None:
    """Ignore the progress."""


def one_at_a_time(arrivals: Sequence[Arrival], job: Callable[[InpaintRequest], Any]) -> Served:
    """First come, first served."""
    return in_batches(arrivals, lambda requests: [job(requests[0])], most=1, window=0.0)


def in_batches(
    arrivals: Sequence[Arrival], jobs: Callable[[list[InpaintRequest]], Images], *, most: int, window: float
) -> Served:
    """Up to `most` of one size at once, collected for `window` seconds from the first of them on."""
    clock = Clock()
    waiting = list(enumerate(arrivals))
    waits, images = [0.0] * len(arrivals), [None] * len(arrivals)
    while waiting:
        first = waiting[0][1]
        alike = [(index, job) for index, job in waiting if job.request.image.size == first.request.image.size]
        clock.sleep_until(min(max(clock.now, first.at) + window, alike[:most][-1][1].at) if most > 1 else first.at)
        clock.sleep_until(first.at)
        batch = [(index, sample) for index, sample in alike if sample.at <= clock.now][:most]
        for (index, job), image in zip(batch, jobs([state.request for _, state in batch]), strict=True):
            waits[index], images[index] = clock.now - job.at, image
        taken = {index for index, _ in batch}
        waiting = [(index, job) for index, job in waiting if index not in taken]
    return Served(clock.now, waits, images)
