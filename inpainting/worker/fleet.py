"""This process among the workers of the site: its row, and what it leaves to others.

A worker claims nothing that needs a model or adapter which it lacks and another worker has. Where no other has it, it
claims the work all the same, which then fails and says so: accepted work does not wait for what nobody has. Workers
that stopped a moment ago count as if they ran, and files that are not here are expected elsewhere for as long, so that
restarts fail nothing. A process that is alone leaves nothing, and asks nothing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Set
from functools import lru_cache
from importlib.metadata import version
from typing import Any
from uuid import UUID

from django.conf import settings

from inpainting import families
from inpainting.core.adapter_uses import ADAPTER_LISTS, Region
from inpainting.core.errors import OUT_OF_MEMORY, PaintingError
from inpainting.core.moderation.policy import UNAVAILABLE
from inpainting.engines.base import Queue
from inpainting.families.declaration import MODERATION, PREPROCESSING
from inpainting.models import Generation, InferenceModel, Worker
from inpainting.models.queued_work import QueuedWork
from inpainting.models.worker import BEAT_SECONDS, DEAD_SECONDS, REMEMBERED_SECONDS
from inpainting.worker import watchdog
from inpainting.worker.capabilities import (
    Capabilities,
    device_bytes,
    device_name,
    find_capabilities,
    record_failed_load,
)
from inpainting.worker.queue.claim_gate import claim_gate
from inpainting.worker_name import PARENT

SLOTS = {Queue.CPU.value: "cpu_slots", Queue.GPU.value: "gpu_slots"}
"""The name of a queue in `--queues` -> the column of the slots that a worker has for it."""
TOOL_ERRORS = {UNAVAILABLE: MODERATION, "control_image_missing": PREPROCESSING}
"""The codes of errors that arise where a model is missing which no request names -> what such a model is for."""
MAX_FENCE = 100
"""Work that was started and returned so often is left to nobody any more: all work must end."""
SLOTS_SECONDS = 5
"""How long the number of the slots of all workers is kept: each accepted request reads it."""


class Membership:
    """What this process can load, what it told the others, and what it leaves to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.capabilities = Capabilities()
        self.left_models: frozenset[str] = frozenset()
        """Slugs that this process lacks and others have: it claims no work of such a model."""
        self._offers: dict[str, list[frozenset[str]]] = {}
        """What other workers can load, by the queue that they serve and this process as well."""
        self._left_work: dict[UUID, float] = {}
        """Work that was released to others -> until when this process does not claim it, of a monotonic clock."""
        self._expected_until: dict[str, float] = {}
        """Slugs of what is not here -> until when others are expected to have it, of a monotonic clock."""
        self._columns: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._last_beat = float("-inf")

    # The row

    def join(self, slots: Mapping[Queue, int]) -> None:
        """Write the row of this process, which serves its queues from now on. slots: generations at once."""
        serves_gpu = Queue.GPU in settings.QUEUES
        self._columns = {
            "parent": f"{socket.gethostname()}:{PARENT}",
            "queues": list(settings.QUEUES),
            "cpu_slots": slots[Queue.CPU] if Queue.CPU in settings.QUEUES else 0,
            "gpu_slots": slots[Queue.GPU] if serves_gpu else 0,
            "device": device_name(),
            "memory_bytes": device_bytes() if serves_gpu else None,
            "version": version("dreamlayer"),
        }
        self._told, self._last_beat = {}, time.monotonic()
        self.look()

    def sign_off(self) -> None:
        """Record that this process stops, if it has a row."""
        with self._lock:  # a heartbeat would undo it
            if self._columns:
                self._columns = {}
                Worker.sign_off()

    def beat_if_due(self) -> None:
        """Every BEAT_SECONDS, record that this process is alive and what changed, and learn what the others have."""
        now = time.monotonic()
        if not self._columns or now - self._last_beat < BEAT_SECONDS:
            return
        if now - self._last_beat > DEAD_SECONDS:  # while the database was away, the others were not heard of either
            self._expected_until.clear()
        self._last_beat = now
        self.look()

    def look(self) -> None:
        """Find what this process can load and tell the others; then find what is left to them."""
        with self._lock:
            self.capabilities = capabilities = find_capabilities()
            self._tell({
                "loadable": sorted(capabilities.loadable),
                "lacking": capabilities.lacking,
                "problem": problem_here(),
            })  # fmt: skip
            lacking, now = capabilities.lacking, time.monotonic()
            self._expected_until = {
                slug: self._expected_until.get(slug, now + REMEMBERED_SECONDS) for slug in capabilities.absent
            }
            asks = bool(lacking) and not settings.IS_ALONE
            self._offers = {name: read_offers(name) for name in SLOTS if asks and name in settings.QUEUES}
            self.left_models = frozenset(
                slug for slug in lacking if any(self._others_have({slug}, queue) for queue in self._offers)
            )
            self._left_work = {pk: until for pk, until in self._left_work.items() if until > now}

    def _tell(self, state: dict[str, Any]) -> None:
        """Write what has changed of the state; where others may ask, also that this process is alive."""
        if not self._columns:
            return
        changes = {name: value for name, value in state.items() if self._told.get(name) != value}
        is_due = bool(changes) or not settings.IS_ALONE
        if not self._told or (is_due and not Worker.beat(**changes)):
            Worker.register(**self._columns, **state)
        self._told = state

    # What is left to others

    @property
    def leaves_some(self) -> bool:
        """Whether there is anything that this process leaves to others."""
        return bool(self.left_models or self._left_work)

    def leaves(self, work: QueuedWork) -> bool:
        """Return whether this process leaves the work to others."""
        if self._left_work.get(work.pk, 0.0) > time.monotonic():
            return True
        needed = needed_by(work)
        missing = needed & self.capabilities.lacking.keys()
        return bool(missing) and self._others_have(missing, queue_of(work), beside=needed)

    def leave_failed(self, work: QueuedWork, error: PaintingError) -> bool:
        """Return whether work that failed here by `error` is left to others, since they may load what this cannot.

        This process then does not claim it again for a while.
        """
        if error.not_loaded:
            record_failed_load(error.not_loaded, error.message)
        self.look()
        needed, queue = needed_by(work), queue_of(work)
        missing = self.missing_for(work, error)
        if error.code == OUT_OF_MEMORY:
            offers = read_offers(queue, memory_above=device_bytes())
            is_left = any(self._with_files(needed) <= offer for offer in offers)
        else:
            is_left = bool(missing) and self._others_have(missing, queue, beside=needed)
        if not is_left or work.fence >= MAX_FENCE:
            return False
        with self._lock:
            self._left_work[work.pk] = time.monotonic() + REMEMBERED_SECONDS
        return True

    def missing_for(self, work: QueuedWork, error: PaintingError) -> set[str]:
        """Return the slugs of what this process cannot load of what the work needs, which failed by `error`."""
        needed = needed_by(work) | find_tools(TOOL_ERRORS.get(error.code))
        return {error.not_loaded} - {""} | needed & self.capabilities.lacking.keys()

    def _others_have(self, missing: Set[str], queue: str, *, beside: Set[str] = frozenset()) -> bool:
        """Return whether another worker of a queue has all of it, or is expected to.

        beside: what it must have as well.
        """
        if settings.IS_ALONE:
            return False
        now = time.monotonic()
        if all(self._expected_until.get(slug, now) > now for slug in missing):
            return True
        return any(missing | self._with_files(beside) <= offer for offer in self._offers.get(queue, ()))

    def _with_files(self, slugs: Set[str]) -> Set[str]:
        """Return those of them that have files: others are built in."""
        return slugs & (self.capabilities.loadable | self.capabilities.lacking.keys())


def needed_by(work: QueuedWork) -> set[str]:
    """Return the slugs of the model, the adapters and the upscaler that the work names."""
    names = {work.model}
    if isinstance(work, Generation) and work.queue == Queue.GPU:
        names.add(work.upscaler)
        sent = work.settings  # as stored, maybe by another version
        names |= {sent.get("vae"), *(sent.get(adapters.name) for adapters in ADAPTER_LISTS)}
        names |= {*(sent.get("embeddings") or ())}
        for setting in ("loras", *(adapters.setting for adapters in ADAPTER_LISTS)):
            names |= {use.get("slug") for use in sent.get(setting) or ()}
        for region in sent.get(Region.SETTING) or ():
            names |= {use.get("slug") for use in region.get("loras") or ()}
    return names - {"", None}


def queue_of(work: QueuedWork) -> str:
    """Return the name in `--queues` of the workers that run the work."""
    return Queue(work.queue).served_with


def find_tools(use: str | None) -> set[str]:
    """Return the slugs of the models for a use, which no request names."""
    families_of_use = families.names(engine=use) if use else ()
    rows = InferenceModel.objects.filter(enabled=True, family__in=families_of_use)
    return {*rows.values_list("slug", flat=True)} if families_of_use else set()


def problem_here() -> str:
    """Return why this process claims nothing, empty if it does."""
    if watchdog.draining.is_set():
        return "it is stopping"
    if claim_gate.problem:
        claim_gate.is_open()  # nobody else asks while nothing waits
    return claim_gate.problem[:300]


def read_offers(queue: str, *, memory_above: int | None = None) -> list[frozenset[str]]:
    """Return what the other workers of a queue can load, each set once.

    memory_above: of workers with more memory alone.
    """
    others = Worker.others().filter(**{f"{SLOTS[queue]}__gt": 0})
    if memory_above is not None:
        others = others.filter(memory_bytes__gt=memory_above)
    return [frozenset(slugs) for slugs in others.order_by().values_list("loadable", flat=True).distinct()]


def count_slots(queue: Queue, *, own: int) -> int:
    """Return how many generations of a queue run at once on all live workers. own: on this process, if it is alone."""
    return own if settings.IS_ALONE else _slots(queue, int(time.monotonic() // SLOTS_SECONDS))


@lru_cache(maxsize=4)
def _slots(queue: Queue, period: int) -> int:
    return Worker.count_slots(queue)


membership = Membership()
"""Of this process."""
