"""Work that waits in a queue: its place, the lease of the worker that holds it, and how it ends."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import DatabaseError, models, transaction
from django.db.models.functions import Now
from django.dispatch import Signal
from django.utils.translation import gettext_lazy, pgettext_lazy

from inpainting import metrics
from inpainting.core.sentences import Sentence, sentence
from inpainting.database import fair_tags
from inpainting.database.compiled_query import CompiledQuery, CompiledUpdate, Parameter
from inpainting.database.leases import NOT_LEASED, ConditionalUpdate, seconds_from_now
from inpainting.engines.base import Queue
from inpainting.models.webhook_delivery import WebhookDelivery
from inpainting.realtime import events
from inpainting.worker_name import WORKER

MAX_ATTEMPTS = 3
MAX_CRASHES = 10
"""Of processes that ran it, also those that are no attempts. All work must end: one whose every first step crashes its
process would else run forever."""
MAX_PAUSE_SECONDS = 300

work_ended = Signal()
"""Sent when the end of a generation or analysis is committed in this process. pk: its primary key."""


class Status(models.TextChoices):
    QUEUED = "queued", gettext_lazy("Queued")
    RUNNING = "running", gettext_lazy("Running")
    SUCCEEDED = "succeeded", gettext_lazy("Succeeded")
    FAILED = "failed", pgettext_lazy("a generation", "Failed")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")


START_ORDER = ("attempts", "start_tag", "created_at", "id")
"""The order in which the waiting generations of a queue start: first those that must run alone, then the others.

Attempts: only of those that must run alone, whose crashes count; the one with the fewest comes first.
"""
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class QueuedWork(ConditionalUpdate):
    """Only the methods under "Mutators" change the state. Each is one conditional UPDATE; False means no row matched.

    A worker holds running work by a fencing token, `fence`, that grows with every start, until its lease expires;
    progress renews the lease. An update with an older fence changes nothing. Times are the database's.
    Subclasses have the columns `id`, `owner`, `cost`, `webhook_url` and `service`.
    """

    NAME: ClassVar[str]
    """The word in the names of its webhook events."""
    CRASHED_SERVER: ClassVar[str]
    """The template of the error after that many `crashes`."""
    FAILED_UNEXPECTEDLY: ClassVar[Sentence]
    """The error after one of the program."""

    owner_id: int

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(
        default=0,
        editable=False,
        help_text=gettext_lazy("starts, but those that were released or crashed by another cause"),
    )
    crashes = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="how often its process crashed, also beside others"
    )
    run_alone = models.BooleanField(
        default=False, editable=False, help_text="its process crashed: no other generation may run beside it"
    )
    model = models.CharField(
        max_length=100,
        default="",
        db_default="",
        editable=False,
        help_text=gettext_lazy("that its engine uses; empty: none"),
    )
    request_id = models.CharField(
        max_length=64,
        default="",
        db_default="",
        editable=False,
        help_text=gettext_lazy("of the HTTP request that it came with"),
    )
    queue = models.CharField(max_length=10, default=Queue.CPU.value, editable=False, help_text="whose workers run it")
    start_tag = models.BigIntegerField(
        default=0, editable=False, help_text="the smallest of a queue starts next (start-time fair queueing)"
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
    expected_end = models.DateTimeField(
        null=True, editable=False, help_text="running: estimated by its worker; empty: without an estimate"
    )
    error_code = models.CharField(max_length=60, blank=True, editable=False)
    error_message = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    # Mutators

    def start(self) -> bool:
        """Claim queued work: this process holds it, by the new fence, until the lease expires."""
        with transaction.atomic(savepoint=False):
            if not _start(type(self), settings.LEASE_SECONDS).execute(pk=self.pk, worker=WORKER):
                return False
            # Read in the same transaction: the fence we read is the one we set.
            ((self.started_at, self.attempts, self.fence, self.lease_until),) = _started(type(self)).rows(pk=self.pk)
            self.status, self.worker, self.step, self.steps, self.expected_end = Status.RUNNING, WORKER, 0, 0, None
            fair_tags.record_start(self._columns)
            self._publish(events.running())
        return True

    def advance(
        self,
        step: int,
        steps: int,
        *,
        seconds_left: float | None = None,
        preview: events.StepPreview | None = None,
        loading: events.Loading | None = None,
    ) -> bool:
        """Record a step and renew the lease. False: stop, it was cancelled or another worker holds it.

        steps: 0 while unknown, such as before a model is loaded. preview and loading are sent to listeners and not
            stored.
        """
        if steps:
            event = events.progress(step, steps, seconds_left=seconds_left, preview=preview)
        else:
            event = events.running(loading)
        return self._change(
            self._held & models.Q(cancel_requested=False),
            event,
            step=step,
            steps=steps,
            expected_end=None if seconds_left is None else seconds_from_now(seconds_left),
            lease_until=seconds_from_now(settings.LEASE_SECONDS),
        )

    def fail(self, *, code: str, message: str) -> bool:
        """End it with an error."""
        return self._change(
            self._held,
            events.failed(code=code, message=message),
            status=Status.FAILED,
            finished_at=Now(),
            error_code=code,
            error_message=message,
            **self.columns_of_error(message),
        )

    def columns_of_error(self, message: str) -> dict[str, Any]:
        """Return the values of other columns that belong to an error."""
        return {}

    def cancel(self) -> bool:
        """Cancel: at once while queued, at the next step while running. False if it has ended."""
        queued = models.Q(status=Status.QUEUED)
        with transaction.atomic():
            if self._change(queued, events.cancelled(), status=Status.CANCELLED, finished_at=Now()):
                fair_tags.return_slot(self._columns)
                return True
        return self._change(models.Q(status=Status.RUNNING), None, cancel_requested=True)

    def end_cancelled(self) -> bool:
        """Record that a requested cancellation has stopped the work."""
        held = self._held & models.Q(cancel_requested=True)
        return self._change(held, events.cancelled(), status=Status.CANCELLED, finished_at=Now())

    def requeue(self, *, was_loading: bool = False) -> bool:
        """Return the work of a process that crashed to the queue, to run alone after a pause that grows each time.

        Ends it if it was cancelled. The crash counts as an attempt where nothing else can be the cause: it ran alone,
        and has computed. After MAX_ATTEMPTS, or MAX_CRASHES, it fails.

        was_loading: whether its process was loading a network, to whose files the crash is counted.
        """
        crashes = self.crashes + 1
        is_attempt = self._has_computed and not was_loading and not self._ran_beside_others()
        is_last = crashes >= MAX_CRASHES or (is_attempt and self.attempts >= MAX_ATTEMPTS)
        if is_last and not self.cancel_requested:
            message = sentence(self.CRASHED_SERVER, crashes=crashes)
            return self.fail(code="job_crashed_worker", message=message)
        return self._return_to_queue(
            lease_until=seconds_from_now(pause_after(crashes)),
            run_alone=True,
            crashes=crashes,
            attempts=models.F("attempts") - (0 if is_attempt else 1),
        )

    @property
    def _has_computed(self) -> bool:
        """Whether it has come so far that it can be the cause of a crash."""
        return True

    def _ran_beside_others(self) -> bool:
        """Return whether its process ran others, which are still recorded as running or were requeued a moment ago."""
        running_or_requeued = models.Q(status=Status.RUNNING) | models.Q(status=Status.QUEUED, run_alone=True)
        others = (
            model._default_manager.filter(running_or_requeued, worker=self.worker).exclude(pk=self.pk)
            for model in fair_tags.queued_models()
        )
        return not self.run_alone and any(rows.exists() for rows in others)

    def release(self, *, pause_seconds: float = 0) -> bool:
        """Return it to the queue without counting the attempt, as when the server stops or a disk is full.

        Also when its process was killed: nothing that it ran can be the cause.
        """
        return self._return_to_queue(lease_until=seconds_from_now(pause_seconds), attempts=models.F("attempts") - 1)

    def _return_to_queue(self, **changes: Any) -> bool:
        # The new fence blocks updates by the former worker, which may still be running.
        fence = models.F("fence") + 1
        held = self._held & models.Q(cancel_requested=False)
        if self._change(held, events.queued(), status=Status.QUEUED, step=0, fence=fence, **changes):
            return True
        return self.end_cancelled()

    @property
    def _columns(self) -> Any:
        """This, with the columns that only subclasses declare."""
        return self

    @property
    def _held(self) -> models.Q:
        """Running, under the fence that was read."""
        return models.Q(status=Status.RUNNING, fence=self.fence)

    def _change(self, condition: models.Q, event: events.GenerationEvent | None, **changes: Any) -> bool:
        """Update this row if the condition holds, and publish the event on commit."""
        former_fence = self.fence
        try:
            with transaction.atomic(savepoint=False):
                # The columns are read in the same transaction: the fence we read is the one we set.
                if not self._update_where(condition, **changes):
                    return False
                if changes.get("status") in ENDED:
                    transaction.on_commit(lambda: work_ended.send_robust(type(self), pk=self.pk), robust=True)
                    transaction.on_commit(self._count_end, robust=True)
                    WebhookDelivery.create_for(self._columns)
                if event is not None:
                    self._publish(event)
        except DatabaseError:
            self.fence = former_fence  # the commit failed, as on a full disk, and the former fence is still valid
            raise
        return True

    def _publish(self, event: events.GenerationEvent) -> None:
        """Send an event. One that cannot be sent must not undo or hide the committed change."""
        transaction.on_commit(lambda: events.publish(self.pk, self.owner_id, event), robust=True)

    @property
    def _outcome(self) -> str:
        """The label of its end in the metrics."""
        return self.status

    def _count_end(self) -> None:
        metrics.ENDED.labels(self.queue, self.model, self._outcome).inc()
        if self.seconds is not None:
            metrics.GENERATION_SECONDS.labels(self.queue).observe(self.seconds)

    # Queries

    @classmethod
    def startable(cls) -> models.QuerySet[Self]:
        """Return what is queued and past their earliest start."""
        return cls._default_manager.filter(NOT_LEASED, finished_at=None, status=Status.QUEUED)

    @classmethod
    def running_here(cls) -> models.QuerySet[Self]:
        """Return what this process holds."""
        return cls._default_manager.filter(status=Status.RUNNING, worker=WORKER)

    @classmethod
    def abandoned(cls, *, grace_seconds: float) -> models.QuerySet[Self]:
        """Return what is running with a lease that expired at least `grace_seconds` ago."""
        return cls._default_manager.filter(status=Status.RUNNING, lease_until__lt=seconds_from_now(-grace_seconds))

    # Properties

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """Seconds from start to end, 0 if the clock was set back meanwhile; None before both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


def pause_after(crashes: int) -> int:
    """Return for how many seconds work waits after so many crashes: not at all after the first, then 2, 4, 8, …"""
    return 0 if crashes <= 1 else min(2 ** (crashes - 1), MAX_PAUSE_SECONDS)


def runs_alone_here() -> list[bool]:
    """Return for all work that this process holds whether it must run alone."""
    return [bool(run_alone) for (run_alone,) in _running_here.rows(worker=WORKER)]


def _by_pk(model: type[QueuedWork]) -> models.QuerySet[QueuedWork]:
    return model._default_manager.filter(pk=Parameter("pk", model._meta.pk))


@cache
def _start(model: type[QueuedWork], lease_seconds: float) -> CompiledUpdate:
    return CompiledUpdate(
        lambda: _by_pk(model).filter(status=Status.QUEUED, cancel_requested=False),
        status=Status.RUNNING,
        started_at=Now(),
        attempts=models.F("attempts") + 1,
        fence=models.F("fence") + 1,
        lease_until=seconds_from_now(lease_seconds),
        worker=Parameter("worker", model._meta.get_field("worker")),
        step=0,
        steps=0,
        expected_end=None,
    )


@cache
def _started(model: type[QueuedWork]) -> CompiledQuery[QueuedWork]:
    return CompiledQuery(lambda: _by_pk(model).values_list("started_at", "attempts", "fence", "lease_until"))


def _held_by_a_worker() -> models.QuerySet[Any, Any]:
    running, *others = (
        model._default_manager.filter(
            status=Status.RUNNING, worker=Parameter("worker", model._meta.get_field("worker"))
        )
        .order_by()
        .values_list("run_alone")
        for model in fair_tags.queued_models()
    )
    return running.union(*others, all=True)


_running_here = CompiledQuery(_held_by_a_worker)
