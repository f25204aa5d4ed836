"""Start-time fair queueing: the tags that order waiting generations, given when they are accepted.

P. Goyal, H. Vin and H. Cheng, "Start-Time Fair Queuing", SIGCOMM 1996: every user is a flow; a start tag is the maximum
of the queue's virtual time and the end of the flow's last slot, which is `cost / weight` long; the smallest tag starts
next. While two users have generations waiting, the costs that are started for each, divided by the user's weight,
differ by at most the sum of their largest costs divided by their weights. A user who had nothing waiting has no credit.

Batches give way to the user's single generations: a single one takes over the slot of the next waiting image of a
batch, which moves to the end of the flow. While both wait, every second slot is left to the batches. The slots of one
user never overlap, so other users lose nothing. Where a single one needs less than the slot, the rest is left unused.

All batches of a user share those slots in the order in which they were sent, rather than having a flow each. Of equal
batches that take turns, all end at the end; one after the other, the first ends after its own time and the last no
later. And tags are final when a generation is accepted, so that a position is a count over an index: turns would move
every waiting image of the user whenever another batch arrives or ends.

Tags are integers: pixels x steps, which 64 bits count for thousands of years. Locks are taken in the order generation,
flow, virtual time; an accepting transaction never waits for the lock of a generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce

from inpainting.database.compiled_query import CompiledQuery, CompiledUpdate, Parameter, ordered_by_index
from inpainting.engines.base import Queue

OVERHEAD_PIXELS = 1 << 16
"""Added to the pixels of a window: loading, compositing and storing take time however small it is."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The start and end tag of a generation."""

    start: int
    end: int


class Queued(Protocol):
    """A `QueuedWork`, whose module imports this one."""

    pk: UUID
    owner_id: int
    queue: str
    cost: int
    start_tag: int
    finish_tag: int


QUEUED_MODELS: Mapping[str, str] = {Queue.CPU: "Generation", Queue.GPU: "Generation", Queue.ANALYSIS: "Analysis"}
"""Queue -> the model of the work that waits in it."""


def model_in(queue: str) -> Any:
    """The model of the work in a queue."""
    return apps.get_model("inpainting", QUEUED_MODELS[queue])


def queued_models() -> list[Any]:
    """The models of all queued work."""
    return [apps.get_model("inpainting", name) for name in dict.fromkeys(QUEUED_MODELS.values())]


class VirtualTime(models.Model):
    """The virtual time of a queue: the largest start tag of a generation that was started."""

    queue = models.CharField(max_length=10, primary_key=True)
    tag = models.BigIntegerField(default=0)


class Flow(models.Model):
    """The generations of one user in one queue. Its row is locked while one is added.

    next_tag: the end of the last slot. next_single_tag: the earliest start of the next single generation; every slot
    behind it belongs to a batch. started_tag: the end of the last slot whose generation was started.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    queue = models.CharField(max_length=10)
    next_tag = models.BigIntegerField(default=0)
    next_single_tag = models.BigIntegerField(default=0)
    started_tag = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "queue"], name="one_flow_per_owner_and_queue")
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["queue", "-started_tag"])]

    def __str__(self) -> str:
        return f"flow of user {self.owner_id} in {self.queue}"


def cost_of(pixels: int, *, images: int, steps: int | None) -> int:
    """The cost of a generation. pixels: of the window that the engine works on. steps: None for engines without."""
    return (pixels + OVERHEAD_PIXELS) * images * max(1, steps or 1)


def take_slot(generation: Queued, *, weight: int, in_batch: bool) -> Slot:
    """The slot of a generation that is about to be saved, in the caller's transaction."""
    length = max(1, generation.cost // weight)
    flow, now = _lock_flow(generation)
    start = None if in_batch else _take_over(generation, flow, max(now, flow.next_single_tag), length)
    if start is None:
        start = max(now, flow.next_tag)
        flow.next_tag = start + length
        if not in_batch:
            flow.next_single_tag = flow.next_tag
    else:
        flow.next_single_tag = start + 2 * length
    _extend.execute(pk=flow.pk, next_tag=flow.next_tag, next_single_tag=flow.next_single_tag)
    return Slot(start, start + length)


def record_start(generation: Queued) -> None:
    """Advance the virtual time to the start tag of a generation that was started, in the same transaction."""
    _start.execute(owner=generation.owner_id, queue=generation.queue, started_tag=generation.finish_tag)
    _advance.execute(queue=generation.queue, tag=generation.start_tag)


def record_overtaking(generation: Queued) -> None:
    """Advance the virtual time to the end of a generation that was started before the first in line: users who come
    later wait behind it, so that they do not overtake the first in line forever."""
    _advance.execute(queue=generation.queue, tag=generation.finish_tag)


def return_slot(generation: Queued) -> None:
    """Let the flow end with its last slot again after a waiting generation was cancelled, in the same transaction."""
    flow = Flow.objects.select_for_update().filter(_of(generation)).first()
    if flow is not None:
        last = _waiting(generation).order_by("-start_tag").values_list("finish_tag", flat=True).first()
        flow.next_tag = max(flow.started_tag, last or 0)
        flow.next_single_tag = min(flow.next_single_tag, flow.next_tag)
        flow.save(update_fields=["next_tag", "next_single_tag"])


def present_tag(queue: object) -> models.Expression:
    """The virtual time of a queue, for an update."""
    tags = VirtualTime.objects.filter(queue=queue).values("tag")
    return Coalesce(models.Subquery(tags), 0, output_field=models.BigIntegerField())


def _lock_flow(generation: Queued) -> tuple[Flow, int]:
    """The flow, created where it is missing, and the present virtual time of its queue."""
    key = {"owner": generation.owner_id, "queue": generation.queue}
    flow_of = _flow(model_in(generation.queue))
    with ordered_by_index():
        rows = flow_of.rows(**key)
    if not rows:
        VirtualTime.objects.bulk_create([VirtualTime(queue=generation.queue)], ignore_conflicts=True)
        new = Flow(owner_id=generation.owner_id, queue=generation.queue)
        Flow.objects.bulk_create([new], ignore_conflicts=True)
        rows = flow_of.rows(**key)
    pk, next_tag, next_single_tag, now, live = rows[0]
    flow = Flow(pk=pk, next_tag=next_tag, next_single_tag=next_single_tag)
    return flow, _advance_idle_queue(generation.queue, now) if live is None else now


def _advance_idle_queue(queue: str, now: int) -> int:
    """Advance the virtual time of an idle queue to the end of the last started slot: all users start equal.

    Returns the new virtual time.
    """
    ends = Flow.objects.filter(queue=queue).order_by("-started_tag").values_list("started_tag", flat=True)
    now = max(now, ends.first() or 0)
    _advance.execute(queue=queue, tag=now)
    return now


def _parameter(field: str, model: type[models.Model] = Flow) -> Parameter:
    return Parameter(field, model._meta.get_field(field))


def _locked_flow(model: type[models.Model]) -> models.QuerySet[Flow, Any]:
    queue = _parameter("queue")
    # In the order of an index, and not EXISTS: with many waiting, PostgreSQL would look for one by reading the table
    # from its beginning, where the ended ones are.
    live = model._default_manager.filter(queue=queue, finished_at=None).order_by(
        "status", "run_alone", "attempts", "start_tag"
    )
    flows = Flow.objects.select_for_update(of=("self",)).filter(owner=_parameter("owner"), queue=queue)
    return flows.annotate(now=present_tag(queue), live=models.Subquery(live.values("pk")[:1])).values_list(
        "pk", "next_tag", "next_single_tag", "now", "live"
    )


@cache
def _flow(model: type[models.Model]) -> CompiledQuery[Flow]:
    """A flow, locked, with the virtual time of its queue, and the key of what waits or runs there; None: it is idle.

    model: of the queue's work.
    """
    return CompiledQuery(lambda: _locked_flow(model))


_extend = CompiledUpdate(
    lambda: Flow.objects.filter(pk=Parameter("pk", Flow._meta.pk)),
    next_tag=_parameter("next_tag"),
    next_single_tag=_parameter("next_single_tag"),
)
_start = CompiledUpdate(
    lambda: Flow.objects.filter(
        owner=_parameter("owner"), queue=_parameter("queue"), started_tag__lt=_parameter("started_tag")
    ),
    started_tag=_parameter("started_tag"),
)
_advance = CompiledUpdate(
    lambda: VirtualTime.objects.filter(queue=_parameter("queue", VirtualTime), tag__lt=_parameter("tag", VirtualTime)),
    tag=_parameter("tag", VirtualTime),
)


def _take_over(generation: Queued, flow: Flow, earliest: int, length: int) -> int | None:
    """Free slots of batches from `earliest` on and return their start; None where none waits there.

    Those that another transaction is starting keep their slots.
    """
    if earliest >= flow.next_tag:
        return None
    waiting = _waiting(generation).filter(start_tag__gte=earliest).order_by("start_tag")
    unlocked = waiting.select_for_update(skip_locked=True, no_key=True).only("start_tag", "finish_tag")
    first = unlocked.first()
    if first is None:
        return None
    distance = max(flow.next_tag - first.start_tag, length)
    for moved in [first, *unlocked.filter(start_tag__gt=first.start_tag, start_tag__lt=first.start_tag + length)]:
        slot = {"start_tag": moved.start_tag + distance, "finish_tag": moved.finish_tag + distance}
        _waiting(generation).filter(pk=moved.pk).update(**slot)
        flow.next_tag = slot["finish_tag"]
    return first.start_tag


def _waiting(generation: Queued) -> models.QuerySet[Any]:
    """The queued work of the same flow."""
    live = model_in(generation.queue)._default_manager.filter(finished_at=None, owner=generation.owner_id)
    return live.filter(queue=generation.queue, status="queued")


def _of(generation: Queued) -> models.Q:
    return models.Q(owner=generation.owner_id, queue=generation.queue)
