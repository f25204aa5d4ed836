"""The order in which queued generations start: by their tags, see `inpainting.database.fair_tags`.

A worker passes over what it leaves to others, see `inpainting.worker.fleet`.

A worker that has models loaded prefers generations that use them, since loading another model takes seconds: such a
generation may overtake the first in line if its start tag is at most OVERTAKEN_SLOTS slots of that one behind. Tags do
not change and slots of one user do not overlap, so each user starts at most as much before the first in line, and one
generation that reaches beyond it. Between two users the bound of `fair_tags` grows by as much. Each overtaking advances
the virtual time to its end, so users who come later are soon too far behind to overtake.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from functools import cache, partial
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from inpainting.database import fair_tags
from inpainting.database.compiled_query import CompiledQuery, Parameter, order_by_index
from inpainting.database.leases import NOT_LEASED
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status, Worker
from inpainting.models.generation_request import JOINED_IMAGES
from inpainting.models.queued_work import START_ORDER, QueuedWork, runs_alone_here
from inpainting.worker import watchdog
from inpainting.worker.fleet import membership
from inpainting.worker.queue.claim_gate import claim_gate
from inpainting.worker.queue.models_in_queue import models_in

OVERTAKEN_SLOTS = 2
CANDIDATES_FOR_HERE = 16
"""How many waiting generations, and how many of each model, are searched for one that this process can paint."""
CANDIDATES = 64
"""How many waiting generations are searched for a loaded model: a claim costs the same however many wait."""

ANALYSES_AT_ONCE = min(2, max(1, (os.cpu_count() or 2) // 2))
"""How many a process runs. Each computes on all processors for up to a few seconds, so that generations keep some."""

Work = TypeVar("Work", bound=QueuedWork)

_claiming = threading.Lock()
_served: set[Queue] = set()
"""The queues from which this process has taken work."""


def startable_in(queue: Queue) -> QuerySet[QueuedWork]:
    """Return what waits in a queue and may start: nothing while this process is drained."""
    startable: QuerySet[QueuedWork] = fair_tags.model_in(queue).startable()
    return startable.filter(~Worker.drained_here(), queue=queue)


def startable_here(queue: Queue) -> QuerySet[QueuedWork]:
    """Return what `startable_in` does, but what this process leaves to others."""
    startable = startable_in(queue)
    return startable.filter(model__in=_models_for_here(queue)) if membership.leaves_some else startable


def waiting_in(queue: object, *, alone: object) -> QuerySet[Generation]:
    """The queued generations that must run alone, or the others, in the order in which they start.

    Also those whose earliest start is still to come.
    """
    return waiting(Generation, queue, alone=alone)


def waiting(model: type[Work], queue: object, *, alone: object) -> QuerySet[Work]:
    """Return what `waiting_in` does, for any model of queued work."""
    queued = model._default_manager.filter(finished_at=None, status=Status.QUEUED, queue=queue)
    # `run_alone IN (1)` is found in an index of SQLite, `run_alone` is not.
    return queued.filter(run_alone__in=[alone]).order_by(*START_ORDER)


def worker_count(queue: Queue) -> int:
    """How much of a queue this process runs at once; on the GPU queue the generations share step batches."""
    counts = {Queue.CPU: settings.WORKERS, Queue.GPU: settings.DIFFUSION_AT_ONCE, Queue.ANALYSIS: ANALYSES_AT_ONCE}
    return counts[queue]


def fair_order_in(queue: Queue = Queue.CPU, *, limit: int | None = None) -> list[tuple[UUID, float | None]]:
    """Waiting generations in the order in which they start, each with its likely seconds; the first `limit` of them."""
    order: list[tuple[UUID, float | None]] = []
    with order_by_index():
        for alone in (True, False):
            order += waiting_in(queue, alone=alone).values_list("id", "likely_seconds")[:limit]
    return order[:limit]


def seconds_before(generation: Generation, limit: int) -> list[float | None]:
    """The likely seconds of the generations that start before a waiting one, in order; the first `limit` of them."""
    first, fewer_attempts, earlier = _before(limit)
    values = {name: getattr(generation, name) for name in ("queue", *START_ORDER)}
    alone = generation.run_alone
    with order_by_index():
        rows = [] if alone else first.rows(queue=generation.queue)
        rows += fewer_attempts.rows(**values, alone=alone) if generation.attempts else []
        rows += earlier.rows(**values, alone=alone)
    return [seconds for (seconds,) in rows[:limit]]


@cache
def _before(limit: int) -> tuple[CompiledQuery[Generation], CompiledQuery[Generation], CompiledQuery[Generation]]:
    """The generations before another one: those that must run alone, and of its peers those with fewer attempts, and
    those with as many that come earlier."""
    attempts, tag, created_at, pk = (_parameter(name) for name in START_ORDER)
    peers = partial(waiting_in, _parameter("queue"), alone=_parameter("run_alone", "alone"))
    # The range of the index, start_tag <= tag, and of those with the same tag the older ones.
    older = Q(start_tag__lt=tag) | Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=pk)
    return (
        CompiledQuery(lambda: waiting_in(_parameter("queue"), alone=True).values_list("likely_seconds")[:limit]),
        CompiledQuery(lambda: peers().filter(attempts__lt=attempts).values_list("likely_seconds")[:limit]),
        CompiledQuery(
            lambda: peers().filter(older, attempts=attempts, start_tag__lte=tag).values_list("likely_seconds")[:limit]
        ),
    )


def start_next(queue: Queue = Queue.CPU) -> Any:
    """Claim the next generation, or analysis, of a queue. None if none may start, other workers claimed them all, or
    this process stops or could store no result."""
    if not claim_gate.is_open():
        return None
    with _claiming:
        _served.add(queue)
        must_run_alone = any(_waits_alone_for_here(served) for served in _served)
        running = runs_alone_here()
        if any(running) or (running and must_run_alone):
            return None
        while not watchdog.draining.is_set():
            with transaction.atomic():
                # SQLite has one writing transaction at a time.
                with order_by_index():
                    first = _first_for_here(queue, alone=must_run_alone)
                if first is None:
                    return None
                preferred = None
                if isinstance(first, Generation) and not must_run_alone:
                    preferred = _find_with_loaded_model(first, registry.loaded_models(queue))
                work = preferred or first
                if work.start():
                    if preferred is not None:
                        fair_tags.record_overtaking(preferred)
                    return _read_input_images(work) if isinstance(work, Generation) else work
    return None


def _first_for_here(queue: Queue, *, alone: bool) -> QueuedWork | None:
    """The first in line that this process does not leave to others, locked."""
    if not membership.leaves_some:
        return next(iter(_next(queue).instances(queue=queue, alone=alone)), None)
    for work in _candidates_for_here(queue, alone=alone):
        if claimed := _unclaimed(type(work)).instances(pk=work.pk):
            return claimed[0]
    return None


def _waits_alone_for_here(queue: Queue) -> bool:
    """Whether work waits that must run alone and that this process does not leave to others."""
    waits = bool(_waiting_alone(queue).rows(queue=queue))
    return any(_candidates_for_here(queue, alone=True)) if waits and membership.leaves_some else waits


def _candidates_for_here(queue: Queue, *, alone: bool) -> Iterator[QueuedWork]:
    """The work that this process does not leave to others, in the order in which it starts: of the first in line, and
    then, as all of those may be for others, of the first of each model."""
    queued = waiting(fair_tags.model_in(queue), queue, alone=alone).filter(NOT_LEASED, cancel_requested=False)
    queued = queued.only("queue", "model", *START_ORDER, *(["settings"] if queued.model is Generation else []))
    first: list[QueuedWork] = list(queued[:CANDIDATES_FOR_HERE])
    yield from (work for work in first if not membership.leaves(work))
    if len(first) == CANDIDATES_FOR_HERE:
        of_each = (queued.filter(model=model)[:CANDIDATES_FOR_HERE] for model in _models_for_here(queue))
        found = [work for some in of_each for work in some if not membership.leaves(work)]
        yield from sorted(found, key=lambda work: [getattr(work, name) for name in START_ORDER])


def _models_for_here(queue: Queue) -> list[str]:
    """The models of what waits in a queue, but those that this process leaves to others."""
    return [model for model in models_in(queue, Status.QUEUED) if model not in membership.left_models]


def stop_claiming() -> None:
    """Claim nothing any more. When it returns, every generation that this process has claimed is recorded as such."""
    watchdog.draining.set()
    with _claiming:
        pass


def _find_with_loaded_model(first: Generation, loaded: Collection[str]) -> Generation | None:
    """A generation, locked, whose model this process has loaded and that may overtake the first in line; None: none."""
    if not loaded or first.settings.get("model") in loaded:
        return None
    latest = first.start_tag + OVERTAKEN_SLOTS * (first.finish_tag - first.start_tag)
    with order_by_index():
        candidates = _candidates.rows(queue=first.queue, attempts=first.attempts, latest=latest)
    for pk, model in candidates:
        if model in loaded and (claimed := _unclaimed(Generation).instances(pk=pk)):
            return None if membership.leaves_some and membership.leaves(claimed[0]) else claimed[0]
    return None


def _read_input_images(generation: Generation) -> Generation:
    """Read its input images, by as many queries: joined to that of the generation they take longer."""
    for name in JOINED_IMAGES:
        pk = getattr(generation, f"{name}_id")
        if pk is not None:
            (image,) = _by_pk(Generation._meta.get_field(name).related_model).instances(pk=pk)
            setattr(generation, name, image)
    return generation


@cache
def _by_pk(model: Any) -> CompiledQuery[Any]:
    return CompiledQuery(lambda: model.objects.filter(pk=Parameter("pk", model._meta.pk)))


def lock_unclaimed(waiting: QuerySet[Work]) -> QuerySet[Work]:
    """Those that may start now, locked; none while this process is drained. Those that other processes are starting are
    skipped."""
    startable = waiting.filter(NOT_LEASED, ~Worker.drained_here(), cancel_requested=False)
    return startable.select_for_update(skip_locked=True, no_key=True)


def _parameter(field: str, name: str = "") -> Parameter:
    return Parameter(name or field, Generation._meta.get_field(field))


@cache
def _waiting_alone(queue: Queue) -> CompiledQuery[QueuedWork]:
    """Work of a queue that must run alone. A process that serves the queue then starts nothing else."""
    model = fair_tags.model_in(queue)
    return CompiledQuery(
        lambda: waiting(model, _parameter("queue"), alone=True).filter(NOT_LEASED).values_list("pk")[:1]
    )


@cache
def _next(queue: Queue) -> CompiledQuery[QueuedWork]:
    """The first in line, locked."""
    model, alone = fair_tags.model_in(queue), _parameter("run_alone", "alone")
    return CompiledQuery(lambda: lock_unclaimed(waiting(model, _parameter("queue"), alone=alone))[:1])


@cache
def _unclaimed(model: type[Work]) -> CompiledQuery[Work]:
    """The work of that key, locked, if it may start now."""
    rows = model._default_manager.filter(status=Status.QUEUED, pk=Parameter("pk", model._meta.pk))
    return CompiledQuery(lambda: lock_unclaimed(rows))


_candidates = CompiledQuery(
    lambda: (
        waiting_in(_parameter("queue"), alone=False)
        .filter(NOT_LEASED, attempts=_parameter("attempts"), start_tag__lte=_parameter("start_tag", "latest"))
        .values_list("pk", "settings__model")[:CANDIDATES]
    )
)
