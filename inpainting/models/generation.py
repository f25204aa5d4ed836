"""A generation: one request to paint, its inputs, settings, state and results; the row of the history."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.models.pictures import GeneratedImage, Mask, SourceImage
from inpainting.realtime import events

MAX_ATTEMPTS = 3


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class Generation(models.Model):
    """State moves by the verbs below alone. Each is one conditional UPDATE and returns False when it lost."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="generations")
    source = models.ForeignKey(SourceImage, on_delete=models.PROTECT, related_name="generations")
    mask = models.ForeignKey(Mask, on_delete=models.PROTECT, related_name="generations")
    engine = models.CharField(max_length=40)
    settings = models.JSONField(help_text="the fields of PaintSettings")
    warnings = models.JSONField(default=list)

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
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
            models.Index(fields=["owner", "-created_at"]),
            models.Index(fields=["status", "created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.id}"

    # Factories

    @classmethod
    def from_request(
        cls, request: InpaintRequest, *, owner: Any, engine: str, source_name: str = "", warnings: Sequence[str] = ()
    ) -> Generation:
        """A generation whose pictures are in storage and whose rows are not saved yet; see `save_new`."""
        return cls(
            owner=owner,
            source=SourceImage.written(owner, request.image, name=source_name),
            mask=Mask.written(owner, request.mask),
            engine=engine,
            settings=dataclasses.asdict(request.settings),
            warnings=list(warnings),
        )

    def to_request(self) -> InpaintRequest:
        """The request that this generation was made from."""
        return InpaintRequest(self.source.read(), self.mask.read_pixels(), self.paint_settings)

    # Mutators

    def save_new(self) -> None:
        """Save the rows of a generation made by `from_request`."""
        with transaction.atomic():
            self.source.save(force_insert=True)
            self.mask.save(force_insert=True)
            self.save(force_insert=True)

    def start(self) -> bool:
        return self._move(
            models.Q(status=Status.QUEUED),
            events.running(),
            status=Status.RUNNING,
            started_at=timezone.now(),
            attempts=models.F("attempts") + 1,
        )

    def advance(self, step: int, steps: int) -> bool:
        """Note a step. False: stop painting, it was cancelled or is somebody else's by now."""
        running = models.Q(status=Status.RUNNING, cancel_requested=False)
        return self._move(running, events.progress(step, steps), step=step, steps=steps)

    def succeed(self, images: Sequence[GeneratedImage]) -> bool:
        """Keep the result pictures, all or none. A generation whose cancelling was asked for does not succeed."""
        with transaction.atomic():
            running = models.Q(status=Status.RUNNING, cancel_requested=False)
            if not self._move(running, events.succeeded(), status=Status.SUCCEEDED, finished_at=timezone.now()):
                return False
            for image in images:
                image.save(force_insert=True)
        return True

    def fail(self, *, code: str, message: str) -> bool:
        return self._move(
            models.Q(status__in=[Status.QUEUED, Status.RUNNING]),
            events.failed(code=code, message=message),
            status=Status.FAILED,
            finished_at=timezone.now(),
            error_code=code,
            error_message=message,
        )

    def cancel(self) -> bool:
        """Cancel: at once while it waits, at the next step while it runs. False if it has ended."""
        queued = models.Q(status=Status.QUEUED)
        if self._move(queued, events.cancelled(), status=Status.CANCELLED, finished_at=timezone.now()):
            return True
        return self._move(models.Q(status=Status.RUNNING), None, cancel_requested=True)

    def end_cancelled(self) -> bool:
        """The engine has stopped, as asked."""
        running = models.Q(status=Status.RUNNING, cancel_requested=True)
        return self._move(running, events.cancelled(), status=Status.CANCELLED, finished_at=timezone.now())

    def put_back(self) -> bool:
        """The process that ran it is gone: it waits again, or fails where that has happened too often."""
        if self.attempts >= MAX_ATTEMPTS:
            message = f"The server stopped {self.attempts} times while painting this picture."
            return self.fail(code="job_crashed_worker", message=message)
        if self.cancel_requested:
            return self.end_cancelled()
        return self._move(models.Q(status=Status.RUNNING), events.queued(), status=Status.QUEUED, step=0)

    def _move(self, allowed: models.Q, event: events.Event | None, **changes: Any) -> bool:
        """One UPDATE of this row where `allowed` holds; the event leaves when it is committed."""
        with transaction.atomic():
            if not Generation.objects.filter(allowed, pk=self.pk).update(**changes):
                return False
            if event is not None:
                transaction.on_commit(lambda: events.publish(self.pk, event))
        self.refresh_from_db(fields=list(changes))
        return True

    # Properties

    @property
    def paint_settings(self) -> PaintSettings:
        return PaintSettings(**self.settings)

    @property
    def prompt(self) -> str:
        return str(self.settings["prompt"])

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """How long it was painted, or None before it has started and ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def present_event(self) -> events.Event:
        """What a listener who has just arrived must know."""
        match self.status:
            case Status.RUNNING if self.steps:
                return events.progress(self.step, self.steps)
            case Status.RUNNING:
                return events.running()
            case Status.SUCCEEDED:
                return events.succeeded()
            case Status.FAILED:
                return events.failed(code=self.error_code, message=self.error_message)
            case Status.CANCELLED:
                return events.cancelled()
        return events.queued()
