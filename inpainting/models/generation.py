"""A generation: one request to paint with its inputs, settings, state and results; a row of the history."""

from __future__ import annotations

import os
import secrets
import socket
import uuid
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from django.conf import settings
from django.db import DatabaseError, models, transaction
from django.db.models.functions import Now

from inpainting import metrics
from inpainting.compiled_query import CompiledQuery, CompiledUpdate, Parameter
from inpainting.core.request import PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.leases import NOT_LEASED, in_seconds
from inpainting.models import completion_waiters, fair_tags
from inpainting.models.generation_request import GenerationRequest
from inpainting.models.pictures import GeneratedImage
from inpainting.models.review import Reviewed
from inpainting.models.webhook_delivery import WebhookDelivery
from inpainting.realtime import events

MAX_ATTEMPTS = 3
WORKER = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
"""The identity of this process as the holder of a lease. Host and process ID alone recur in restarted containers."""


def random_number() -> int:
    """A random integer that JavaScript represents exactly (Number.MAX_SAFE_INTEGER)."""
    return secrets.randbelow(2**53 - 1) + 1


def model_of(engine: str, settings: Mapping[str, Any]) -> str:
    """The name of the model that an engine uses with these settings; empty for engines without models."""
    ignored = registry.find(engine).declaration.ignored_settings
    return "" if "model" in ignored else settings.get("model") or ""


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


START_ORDER = ("attempts", "start_tag", "created_at", "id")
"""The order in which the waiting generations of a queue start: first those that must run alone, then the others.

Attempts: only of those that must run alone, whose crashes count; the one with the fewest comes first.
"""
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class Generation(Reviewed, GenerationRequest):
    """Only the methods under "Mutators" change the state. Each is one conditional UPDATE; False means no row matched.

    A worker holds a running generation by a fencing token, `fence`, that grows with every start, until its lease
    expires; progress renews the lease. An update with an older fence changes nothing. Times are the database's.
    """

    number = models.PositiveBigIntegerField(
        default=random_number, unique=True, null=True, editable=False,
        help_text="random; its id in the APIs whose ids are integers",
    )  # fmt: skip
    expires_at = models.DateTimeField(
        null=True, blank=True, db_index=True, editable=False, help_text="deleted after that; empty: see retention"
    )
    is_favourite = models.BooleanField(default=False, editable=False)
    deleted_at = models.DateTimeField(
        null=True, editable=False, help_text="deleted by its owner, who can undo it for a moment; hidden since then"
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="starts, without those that were released or crashed beside others"
    )
    run_alone = models.BooleanField(
        default=False, editable=False, help_text="its process crashed: no other generation may run beside it"
    )
    model = models.CharField(
        max_length=100, default="", db_default="", editable=False, help_text="that its engine uses; empty: none"
    )
    request_id = models.CharField(
        max_length=64, default="", db_default="", editable=False, help_text="of the HTTP request that it came with"
    )
    queue = models.CharField(max_length=10, default=Queue.CPU.value, editable=False, help_text="whose workers run it")
    start_tag = models.BigIntegerField(
        default=0, editable=False, help_text="the smallest of a queue starts next: see inpainting.models.fair_tags"
    )
    finish_tag = models.BigIntegerField(default=0, editable=False)
    likely_seconds = models.FloatField(
        null=True, editable=False, help_text="estimated when it was accepted; empty: without observations"
    )
    fence = models.PositiveBigIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(
        null=True, editable=False, help_text="running: expiry of the lease; queued: earliest start"
    )
    worker = models.CharField(max_length=300, blank=True, editable=False)
    step = models.PositiveIntegerField(default=0, editable=False)
    steps = models.PositiveIntegerField(default=0, editable=False)
    error_code = models.CharField(max_length=60, blank=True, editable=False)
    error_message = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "-created_at", "-id"], name="generation_of_owner"),
            models.Index(fields=["status", "created_at"]),
            models.Index(fields=["engine", "status", "-created_at"], name="generation_of_engine"),
            models.Index(fields=["status"], condition=models.Q(run_alone=True), name="generation_runs_alone"),
            # In the order in which they start, with all that a position and an ETA read.
            models.Index(
                fields=["queue", "status", "run_alone", *START_ORDER, "likely_seconds", "finished_at"],
                condition=models.Q(finished_at=None),
                name="generation_queue_order",
            ),
            models.Index(
                fields=["owner", "queue", "start_tag"],
                condition=models.Q(finished_at=None),
                name="generation_flow_order",
            ),
            models.Index(
                fields=["queue", "status", "model", "created_at", "finished_at"],
                condition=models.Q(finished_at=None),
                name="generation_of_model",
            ),
            models.Index(
                fields=["deleted_at"], condition=models.Q(deleted_at__isnull=False), name="generation_deleted"
            ),
            models.Index(fields=["-created_at", "-id"], name="generation_newest"),
            models.Index(fields=["verdict", "-created_at", "-id"], name="generation_by_verdict"),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.id}"

    # Mutators

    def save_new(self, *, weight: int = 1, in_batch: bool = False) -> None:
        """Save the rows of a generation made by `from_request` or `copy_for_rerun`, with its place in the queue.

        weight: of the owner. in_batch: whether it is a picture of a batch, which gives way to single generations.
        """
        with transaction.atomic(savepoint=False):
            self.queue = registry.find(self.engine).declaration.queue
            self.model = model_of(self.engine, self.settings)
            slot = fair_tags.take_slot(self, weight=weight, in_batch=in_batch)
            self.start_tag, self.finish_tag = slot.start, slot.end
            for picture in self.pictures:
                if picture._state.adding:  # otherwise it is shared with the parent and already saved
                    picture.save(force_insert=True)
            self.save(force_insert=True)
            self._publish(events.queued())

    def start(self) -> bool:
        """Claim a queued generation: this process holds it, by the new fence, until the lease expires."""
        with transaction.atomic(savepoint=False):
            if not _start(settings.LEASE_SECONDS).execute(pk=self.pk, worker=WORKER):
                return False
            # Read in the same transaction: the fence we read is the one we set.
            ((self.started_at, self.attempts, self.fence, self.lease_until),) = _started.rows(pk=self.pk)
            self.status, self.worker, self.step, self.steps = Status.RUNNING, WORKER, 0, 0
            fair_tags.record_start(self)
            self._publish(events.running())
        return True

    def advance(
        self, step: int, steps: int, *, seconds_left: float | None = None, preview: events.Preview | None = None
    ) -> bool:
        """Record a step and renew the lease. False: stop, it was cancelled or another worker holds it.

        steps: 0 while unknown, such as before a model is loaded. seconds_left and preview are sent to listeners and not
        stored.
        """
        event = events.progress(step, steps, seconds_left=seconds_left, preview=preview) if steps else events.running()
        return self._change(
            self._held & models.Q(cancel_requested=False),
            event,
            step=step,
            steps=steps,
            lease_until=in_seconds(settings.LEASE_SECONDS),
        )

    def step_down(self, engine: str, settings: PaintSettings, *, ignored: Collection[str], reason: str) -> bool:
        """Record a fallback to another engine. False: stop, it was cancelled or another worker holds it."""
        queue = registry.find(engine).declaration.queue
        return self._change(
            self._held & models.Q(cancel_requested=False),
            events.running(),
            queue=queue,
            start_tag=fair_tags.present_tag(queue),  # where it waits if it is requeued
            finish_tag=fair_tags.present_tag(queue),
            likely_seconds=None,
            engine=engine,
            engine_reason=reason,
            settings=settings.to_dict(),
            model=model_of(engine, settings.to_dict()),
            ignored=sorted(ignored),
            step=0,
            steps=0,
        )

    def succeed(self, images: Sequence[GeneratedImage]) -> bool:
        """Save the results, all or none. False if it was cancelled meanwhile or another worker holds it."""
        with transaction.atomic():
            if not self._change(
                self._held & models.Q(cancel_requested=False),
                events.succeeded(),
                status=Status.SUCCEEDED,
                finished_at=Now(),
            ):
                return False
            for image in images:
                image.save(force_insert=True)
        return True

    def fail(self, *, code: str, message: str) -> bool:
        """End the generation with an error."""
        return self._change(
            self._held,
            events.failed(code=code, message=message),
            status=Status.FAILED,
            finished_at=Now(),
            error_code=code,
            error_message=message,
        )

    def cancel(self) -> bool:
        """Cancel: at once while queued, at the next step while running. False if it has ended."""
        queued = models.Q(status=Status.QUEUED)
        with transaction.atomic():
            if self._change(queued, events.cancelled(), status=Status.CANCELLED, finished_at=Now()):
                fair_tags.return_slot(self)
                return True
        return self._change(models.Q(status=Status.RUNNING), None, cancel_requested=True)

    def end_cancelled(self) -> bool:
        """Record that a requested cancellation has stopped the engine."""
        held = self._held & models.Q(cancel_requested=True)
        return self._change(held, events.cancelled(), status=Status.CANCELLED, finished_at=Now())

    def requeue(self) -> bool:
        """Return the generation of a crashed process to the queue, to run alone; end it if it was cancelled.

        Only a crash while it ran alone counts as an attempt. After MAX_ATTEMPTS the generation fails.
        """
        if self._ran_beside_others():
            return self._return_to_queue(lease_until=None, run_alone=True, attempts=models.F("attempts") - 1)
        if self.attempts >= MAX_ATTEMPTS and not self.cancel_requested:
            message = f"The server stopped {self.attempts} times while painting this picture."
            return self.fail(code="job_crashed_worker", message=message)
        return self._return_to_queue(lease_until=None, run_alone=True)

    def _ran_beside_others(self) -> bool:
        """Whether its process ran others, which are still recorded as running or were requeued a moment ago."""
        running_or_requeued = models.Q(status=Status.RUNNING) | models.Q(status=Status.QUEUED, run_alone=True)
        others = Generation.objects.filter(running_or_requeued, worker=self.worker).exclude(pk=self.pk)
        return not self.run_alone and others.exists()

    def release(self, *, pause_seconds: float = 0) -> bool:
        """Return it to the queue without counting the attempt, as when the server stops or a disk is full."""
        return self._return_to_queue(lease_until=in_seconds(pause_seconds), attempts=models.F("attempts") - 1)

    def _return_to_queue(self, **changes: Any) -> bool:
        # The new fence blocks updates by the former worker, which may still be running.
        fence = models.F("fence") + 1
        held = self._held & models.Q(cancel_requested=False)
        if self._change(held, events.queued(), status=Status.QUEUED, step=0, fence=fence, **changes):
            return True
        return self.end_cancelled()

    @property
    def _held(self) -> models.Q:
        """Running, under the fence that was read."""
        return models.Q(status=Status.RUNNING, fence=self.fence)

    def _change(self, condition: models.Q, event: events.Event | None, **changes: Any) -> bool:
        """Update this row if the condition holds, and publish the event on commit."""
        former_fence = self.fence
        try:
            with transaction.atomic(savepoint=False):
                # The columns are read in the same transaction: the fence we read is the one we set.
                if not self._update_where(condition, **changes):
                    return False
                if changes.get("status") in ENDED:
                    transaction.on_commit(lambda: completion_waiters.wake(self.pk), robust=True)
                    transaction.on_commit(self._count_end, robust=True)
                    WebhookDelivery.create_for(self)
                if event is not None:
                    self._publish(event)
        except DatabaseError:
            self.fence = former_fence  # the commit failed, as on a full disk, and the former fence is still valid
            raise
        return True

    def _publish(self, event: events.Event) -> None:
        """Robust: an event that cannot be sent must not undo or hide the committed change."""
        transaction.on_commit(lambda: events.publish(self.pk, self.owner_id, event), robust=True)

    def _count_end(self) -> None:
        metrics.ENDED.labels(self.queue, self.model, self.status).inc()
        if self.seconds is not None:
            metrics.GENERATION_SECONDS.labels(self.queue).observe(self.seconds)

    # Queries

    @classmethod
    def startable(cls) -> models.QuerySet[Generation]:
        """Queued, and past their earliest start."""
        return cls.objects.filter(NOT_LEASED, finished_at=None, status=Status.QUEUED)

    @classmethod
    def running_here(cls) -> models.QuerySet[Generation]:
        """Held by this process."""
        return cls.objects.filter(status=Status.RUNNING, worker=WORKER)

    @classmethod
    def runs_alone_here(cls) -> list[bool]:
        """Of each generation that this process holds, whether it must run alone."""
        return [run_alone for (run_alone,) in _running_here.rows(worker=WORKER)]

    @classmethod
    def abandoned(cls, *, grace_seconds: float) -> models.QuerySet[Generation]:
        """Running with a lease that expired at least `grace_seconds` ago."""
        return cls.objects.filter(status=Status.RUNNING, lease_until__lt=in_seconds(-grace_seconds))

    # Properties

    @property
    def is_hidden(self) -> bool:
        """Whether its owner cannot open it: an administrator removed it, or its owner deleted it a moment ago."""
        return self.is_removed or self.deleted_at is not None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """Seconds from start to end, 0 if the clock was set back meanwhile; None before both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


def _parameter(field: str) -> Parameter:
    return Parameter(field, Generation._meta.get_field(field))


def _by_pk() -> models.QuerySet[Generation]:
    return Generation.objects.filter(pk=Parameter("pk", Generation._meta.pk))


@cache
def _start(lease_seconds: float) -> CompiledUpdate:
    return CompiledUpdate(
        lambda: _by_pk().filter(status=Status.QUEUED, cancel_requested=False),
        status=Status.RUNNING,
        started_at=Now(),
        attempts=models.F("attempts") + 1,
        fence=models.F("fence") + 1,
        lease_until=in_seconds(lease_seconds),
        worker=_parameter("worker"),
        step=0,
        steps=0,
    )


_started = CompiledQuery(lambda: _by_pk().values_list("started_at", "attempts", "fence", "lease_until"))
_running_here = CompiledQuery(
    lambda: Generation.objects.filter(status=Status.RUNNING, worker=_parameter("worker")).values_list("run_alone")
)
