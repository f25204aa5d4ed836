"""Estimates of run times and queue positions, learned from past generations of the same engine."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from statistics import median
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import QuerySet
from django.utils import timezone
from numpy.typing import NDArray

from inpainting.core.geometry import Window
from inpainting.core.network_calls import network_calls
from inpainting.database.compiled_query import CompiledQuery, Parameter
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status
from inpainting.worker.fleet import count_slots
from inpainting.worker.queue.fair_queue import fair_order_in, seconds_before, worker_count

MAX_OBSERVATIONS, NEIGHBOURS = 200, 5
RIDGE = 1.0
"""Ridge penalty: keeps the slopes small while there are few observations."""
AGE = 0.05
"""Distance added to an observation for each newer one: a machine's speed changes with its load."""
EXACT_POSITIONS = 1000
"""Positions are counted up to this one, so that they cost no more in a longer queue."""
PACE_FROM = 3
"""Steps of a run after which its own pace is known: the first one may include loading and compiling."""
MAX_PACE_STEPS = 50
"""The newest steps of a run whose times its pace is taken from."""


@dataclass(frozen=True, slots=True)
class GenerationFeatures:
    """The features of a generation before it starts. mask_bytes: size of the mask's PNG, large for ragged masks."""

    painted_pixels: int
    image_pixels: int
    mask_bytes: int
    images: int = 1
    steps: int = 0
    """Calls of the network for one image, see `network_calls`, in all passes or tiles."""

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

    def __init__(self, done: Sequence[tuple[GenerationFeatures, float]]) -> None:
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

    def seconds(self, works: Sequence[GenerationFeatures]) -> list[float | None]:
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
    """position: 1 starts next. eta: seconds until it has ended, None without observations or a live worker.

    is_minimum: more than EXACT_POSITIONS are before it; both are at least that much.
    """

    position: int
    eta: float | None
    is_minimum: bool = False


WORKLOAD_FIELDS = (
    *("painted_pixels", "source__width", "source__height", "mask__byte_count"),
    *("settings", "ignored", "window"),
)


def estimator_for(engine: str) -> RuntimeEstimator:
    """The estimator of an engine. Ordered by creation, which is indexed and close to the order of completion."""
    newest = _newest_done.rows(engine=engine)
    return _estimator_up_to(engine, tuple(newest[0]) if newest else None)


@lru_cache(maxsize=16)
def _estimator_up_to(engine: str, newest: tuple[UUID, datetime] | None) -> RuntimeEstimator:
    """Fitted again only when a newer generation has succeeded, because every 202 answer needs an estimate."""
    times = _done_by(engine).values_list("started_at", "finished_at", *WORKLOAD_FIELDS)[:MAX_OBSERVATIONS]
    return RuntimeEstimator(
        [(workload_from(fields), (end - start).total_seconds()) for start, end, *fields in times if start and end]
    )


def _done_by(engine: object) -> QuerySet[Generation]:
    return Generation.objects.filter(engine=engine, status=Status.SUCCEEDED).order_by("-created_at")


_newest_done = CompiledQuery(
    lambda: _done_by(Parameter("engine", Generation._meta.get_field("engine"))).values_list("pk", "finished_at")[:1]
)


def workload_from(fields: Sequence[Any]) -> GenerationFeatures:
    painted, width, height, mask_bytes, made, ignored, window = fields
    # 0.1 stored no such settings.
    calls = network_calls(made["steps"], made.get("lanpaint_steps"), ignored, regions=made.get("regions", ()))
    parts = Window.from_dict(window).part_count if window else 1
    return GenerationFeatures(painted, width * height, mask_bytes, made["num_images"], calls * parts)


def generation_workload(generation: Generation) -> GenerationFeatures:
    source = generation.source
    sizes = source.width, source.height, generation.mask.byte_count
    return workload_from(
        (generation.painted_pixels, *sizes, generation.settings, generation.ignored, generation.window)
    )


def expected_seconds(generation: Generation) -> float | None:
    """Estimated seconds from start to end. None without observations."""
    return estimator_for(generation.engine).seconds([generation_workload(generation)])[0]


def queue_position(generation: Generation, *, was_just_accepted: bool = False) -> QueuePosition | None:
    """The position of a queued generation; None otherwise.

    was_just_accepted: nothing is known about its time that was not known then.
    """
    if generation.status != Status.QUEUED:
        return None
    own = generation.likely_seconds if was_just_accepted else likely_seconds(generation)
    before = seconds_before(generation, EXACT_POSITIONS)
    is_minimum = len(before) == EXACT_POSITIONS
    free = [] if own is None else _seconds_until_free(Queue(generation.queue), unknown=own)
    if own is None or not free:
        return QueuePosition(len(before) + 1, None, is_minimum)
    for seconds in before:
        heapq.heapreplace(free, free[0] + (own if seconds is None else seconds))
    return QueuePosition(len(before) + 1, _occupy(free, own, unknown=None), is_minimum)


@dataclass(slots=True)
class Positions:
    """first: the positions of the first generations of every queue. beyond: that of all others, None without others."""

    first: dict[UUID, QueuePosition] = field(default_factory=dict)
    beyond: QueuePosition | None = None

    def of(self, pk: UUID) -> QueuePosition | None:
        """The position of a waiting generation. None if nothing waited behind the first ones."""
        return self.first.get(pk, self.beyond)


def positions() -> Positions:
    """The positions of the first EXACT_POSITIONS generations of each queue, from one query for each queue."""
    found = Positions()
    for queue in (Queue.CPU, Queue.GPU):
        order = fair_order_in(queue, limit=EXACT_POSITIONS + 1)
        if not order:
            continue
        unknown = next((seconds for _, seconds in order if seconds is not None), None)
        if unknown is None:
            first = Generation.objects.select_related("source", "mask").filter(pk=order[0][0]).first()
            unknown = None if first is None else expected_seconds(first)
        free = _seconds_until_free(queue, unknown=unknown)
        for position, (pk, seconds) in enumerate(order, 1):
            place = QueuePosition(position, _occupy(free, seconds, unknown=unknown), position > EXACT_POSITIONS)
            if place.is_minimum:
                found.beyond = place
            else:
                found.first[pk] = place
    return found


def _seconds_until_free(queue: Queue, *, unknown: float | None) -> list[float]:
    """A heap: for each slot of the live workers, the seconds until it has no running generation; empty without workers.

    unknown: the likely seconds of a generation without an estimate.
    """
    free = [0.0] * count_slots(queue, own=worker_count(queue))
    if not free:
        return free
    for started, expected_end, likely in _running_in.rows(queue=queue):
        left = _seconds_left_now(started, expected_end, unknown if likely is None else likely)
        heapq.heapreplace(free, left or 0.0)
    return free


_running_in = CompiledQuery(
    lambda: Generation.objects.filter(
        finished_at=None, status=Status.RUNNING, queue=Parameter("queue", Generation._meta.get_field("queue"))
    ).values_list("started_at", "expected_end", "likely_seconds")
)


def _occupy(free: list[float], seconds: float | None, *, unknown: float | None) -> float | None:
    """Give the next generation to the slot that is free first. Returns when it has ended; None if not known."""
    known = unknown if seconds is None else seconds
    if not free:
        return None
    end = free[0] + (known or 0.0)
    heapq.heapreplace(free, end)
    return None if known is None else round(end, 1)


def likely_seconds(generation: Generation) -> float | None:
    """As estimated when it was accepted, or now where there were no observations then."""
    return expected_seconds(generation) if generation.likely_seconds is None else generation.likely_seconds


def _seconds_left_now(started_at: datetime, expected_end: datetime | None, likely: float | None) -> float | None:
    """Estimated remaining seconds of a running generation: as its worker said last, else by earlier ones."""
    now = timezone.now()
    if expected_end is not None:
        return max(0.0, round((expected_end - now).total_seconds(), 1))
    return None if likely is None else max(0.0, round(likely - (now - started_at).total_seconds(), 1))


def remaining_seconds(generation: Generation) -> float | None:
    """Estimated remaining seconds; None unless the generation runs."""
    if generation.status != Status.RUNNING or generation.started_at is None:
        return None
    return _seconds_left_now(generation.started_at, generation.expected_end, likely_seconds(generation))


class StepPace:
    """The pace of a run: the median time of its last steps, so that neither loading nor one slow step counts."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._step_seconds: deque[float] = deque(maxlen=MAX_PACE_STEPS)

    def record(self, now: float, done: int) -> None:
        """Note that `done` steps are done. now: seconds of a monotonic clock."""
        then, before = self._last or (now, 0)
        if done == before:
            return
        if self._last is not None and done > before:
            self._step_seconds.append((now - then) / (done - before))
        self._last = now, done

    def seconds_left(self, done: int, of: int) -> float | None:
        """Remaining seconds after `done` of `of` steps; None before the third one."""
        if done < PACE_FROM or not self._step_seconds:
            return None
        return round(median(self._step_seconds) * (of - done), 1)
