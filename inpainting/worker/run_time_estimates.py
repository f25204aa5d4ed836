"""Estimates of run times and queue positions, learned from past generations of the same engine."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from django.utils import timezone
from numpy.typing import NDArray

from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status
from inpainting.worker.fair_queue import fair_order_in, worker_count

MAX_OBSERVATIONS, NEIGHBOURS = 200, 5
RIDGE = 1.0
"""Ridge penalty: keeps the slopes small while there are few observations."""
AGE = 0.05
"""Distance added to an observation for each newer one: a machine's speed changes with its load."""
PACE_FROM = 0.3
"""Share of the steps after which the estimate uses only the measured pace of this run."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The features of a generation before it starts. mask_bytes: size of the mask's PNG, large for ragged masks."""

    painted_pixels: int
    image_pixels: int
    mask_bytes: int
    images: int = 1
    steps: int = 0

    @property
    def logs(self) -> list[float]:
        sizes = (self.painted_pixels, self.image_pixels, self.mask_bytes, self.images, self.steps)
        return [math.log1p(size) for size in sizes]


class RuntimeEstimator:
    """A model of an engine's run time, fitted to its last generations.

    The logarithm of the time is fitted by ridge regression to the logarithms of the features, and corrected by the
    median residual of the nearest neighbours. Measured with quick-fill on mixed images: a median error of about 20 %;
    the median of the neighbours by painted pixels alone had 48 %.
    """

    def __init__(self, done: Sequence[tuple[Workload, float]]) -> None:
        """done: workload and seconds of past generations, the newest first."""
        self._features = np.array([work.logs for work, _ in done], np.float64)
        if not len(done):
            return
        logs = np.log([max(seconds, 1e-3) for _, seconds in done])
        self._mean, self._mean_log = self._features.mean(axis=0), float(logs.mean())
        centred = self._features - self._mean
        squares = centred.T @ centred + RIDGE * np.eye(centred.shape[1])
        self._slopes: NDArray[np.float64] = np.linalg.solve(squares, centred.T @ (logs - self._mean_log))
        self._residuals = logs - self._mean_log - centred @ self._slopes

    def seconds(self, works: Sequence[Workload]) -> list[float | None]:
        """The estimate for each workload; None without observations."""
        if not len(self._features) or not works:
            return [None] * len(works)
        requested = np.array([work.logs for work in works])
        # [requested workloads, past workloads]
        distances = np.abs(requested[:, None] - self._features).sum(axis=2)
        distances += AGE * np.arange(len(self._features))
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
        logs = self._mean_log + (requested - self._mean) @ self._slopes + np.median(self._residuals[nearest], axis=1)
        return [float(seconds) for seconds in np.exp(logs)]


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """position: 1 starts next. eta: seconds until it has ended, None without observations."""

    position: int
    eta: float | None


WORKLOAD_FIELDS = ("painted_pixels", "source__width", "source__height", "mask__byte_count", "settings")


def estimator_for(engine: str) -> RuntimeEstimator:
    """The estimator of an engine. Ordered by creation, which is indexed and close to the order of completion."""
    done = Generation.objects.filter(engine=engine, status=Status.SUCCEEDED).order_by("-created_at")
    return _estimator_up_to(engine, done.values_list("pk", "finished_at").first())


@lru_cache(maxsize=16)
def _estimator_up_to(engine: str, newest: tuple[UUID, datetime] | None) -> RuntimeEstimator:
    """Fitted again only when a newer generation has succeeded, because every 202 answer needs an estimate."""
    done = Generation.objects.filter(engine=engine, status=Status.SUCCEEDED).order_by("-created_at")[:MAX_OBSERVATIONS]
    times = done.values_list("started_at", "finished_at", *WORKLOAD_FIELDS)
    return RuntimeEstimator(
        [(workload_from(fields), (end - start).total_seconds()) for start, end, *fields in times if start and end]
    )


def workload_from(fields: Sequence[Any]) -> Workload:
    painted, width, height, mask_bytes, made = fields
    return Workload(painted, width * height, mask_bytes, made["num_images"], made["steps"] or 0)


def generation_workload(generation: Generation) -> Workload:
    source = generation.source
    size = source.width, source.height
    return workload_from((generation.painted_pixels, *size, generation.mask.byte_count, generation.settings))


def expected_seconds(generation: Generation) -> float | None:
    """Estimated seconds from start to end. None without observations."""
    return estimator_for(generation.engine).seconds([generation_workload(generation)])[0]


def queue_position(generation: Generation) -> QueuePosition | None:
    """The position of a queued generation; None otherwise, or where its engine no longer exists."""
    if generation.status != Status.QUEUED:
        return None
    queues = [queue for queue in Queue if generation.engine in registry.in_queue(queue)]
    return positions_in(queues[0]).get(generation.pk) if queues else None


def positions() -> Mapping[UUID, QueuePosition]:
    """The positions of all generations that may start now, each within its queue."""
    return {pk: place for queue in Queue for pk, place in positions_in(queue).items()}


def positions_in(queue: Queue) -> Mapping[UUID, QueuePosition]:
    """Simulate the workers of this process taking the generations in the present order."""
    order = list(fair_order_in(queue))
    estimators = cache(estimator_for)
    free = [0.0] * worker_count(queue)  # seconds until each worker is free
    running = Generation.objects.filter(status=Status.RUNNING, engine__in=registry.in_queue(queue)).values_list(
        "started_at", "step", "steps", "engine", *WORKLOAD_FIELDS
    )
    for started, step, steps, engine, *fields in running:
        heapq.heapreplace(free, _remaining(estimators, started, step, steps, engine, workload_from(fields)) or 0.0)
    waiting = Generation.objects.filter(status=Status.QUEUED, engine__in=registry.in_queue(queue)).values_list(
        "pk", "engine", *WORKLOAD_FIELDS
    )
    works: dict[str, dict[UUID, Workload]] = {}
    for pk, engine, *fields in waiting:
        works.setdefault(engine, {})[pk] = workload_from(fields)
    likely: dict[UUID, float | None] = {}
    for engine, workloads in works.items():
        likely.update(zip(workloads, estimators(engine).seconds(list(workloads.values())), strict=True))
    found = {}
    for position, pk in enumerate((pk for pk in order if pk in likely), 1):
        own = likely[pk]
        done = free[0] + (own or 0.0)
        heapq.heapreplace(free, done)
        found[pk] = QueuePosition(position, None if own is None else round(done, 1))
    return found


def _remaining(
    estimators: Callable[[str], RuntimeEstimator],
    started_at: Any,
    step: int,
    steps: int,
    engine: str,
    workload: Workload,
) -> float | None:
    """Estimated remaining seconds of a running generation."""
    elapsed = max(0.0, (timezone.now() - started_at).total_seconds())
    return seconds_left(elapsed, step, steps, estimators(engine).seconds([workload])[0])


def remaining_seconds(generation: Generation) -> float | None:
    """Estimated remaining seconds; None unless the generation runs."""
    if generation.status != Status.RUNNING or generation.started_at is None:
        return None
    workload = generation_workload(generation)
    return _remaining(
        estimator_for, generation.started_at, generation.step, generation.steps, generation.engine, workload
    )


def seconds_left(elapsed: float, done: int, of: int, likely: float | None) -> float | None:
    """Combine the pace of the steps so far with the estimate, whose weight falls with each step. None without both."""
    share = done / max(of, 1)
    by_past = None if likely is None else max(0.0, likely - elapsed)
    if share <= 0:
        return None if by_past is None else round(by_past, 1)
    by_pace = elapsed * (1 - share) / share
    trust = 1.0 if by_past is None else min(1.0, share / PACE_FROM)
    return round(trust * by_pace + (1 - trust) * (by_past or 0.0), 1)
