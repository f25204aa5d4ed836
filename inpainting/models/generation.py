"""A generation: one request to paint with its inputs, settings, state and results; a row of the history."""

from __future__ import annotations

import dataclasses
import os
import socket
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np
from django.conf import settings
from django.db import DatabaseError, models, transaction
from django.db.models.functions import Now

from inpainting.core.errors import InvalidPicture
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.database_clock import in_seconds
from inpainting.models import completion_waiters
from inpainting.models.pictures import (
    GeneratedImage,
    Mask,
    ReferencePicture,
    SourceImage,
    StoredPicture,
    content_digest,
)
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS, WebhookDelivery
from inpainting.realtime import events

MAX_ATTEMPTS = 3
REFERENCES = ("control_image", "ip_adapter_image")
"""The conditioning images of a request, by their names in `InpaintRequest`."""
INPUT_IMAGES = ("source", "mask", *REFERENCES)
"""The input images of a generation."""
SharedImages = dict[tuple[str, str], ReferencePicture]
"""Stored conditioning images of one owner, by their names in `InpaintRequest` and their content hash."""
WORKER = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
"""The identity of this process as the holder of a lease. Host and process ID alone recur in restarted containers."""


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


@dataclasses.dataclass(frozen=True, slots=True)
class RequestedSettings:
    """The request as sent: an engine's name or "auto", and the fields of PaintSettings that were given."""

    engine: str
    settings: Mapping[str, Any]


class Generation(models.Model):
    """Only the methods under "Mutators" change the state. Each is one conditional UPDATE; False means no row matched.

    A worker holds a running generation by a fencing token, `fence`, that grows with every start, until its lease
    expires; progress renews the lease. An update with an older fence changes nothing. Times are the database's.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="generations")
    source = models.ForeignKey(SourceImage, on_delete=models.RESTRICT, related_name="generations")
    mask = models.ForeignKey(Mask, on_delete=models.RESTRICT, related_name="generations")
    control_image = models.ForeignKey(
        ReferencePicture,
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        related_name="controlled",
        help_text="input of the ControlNet, in the size of the source image",
    )
    ip_adapter_image = models.ForeignKey(
        ReferencePicture,
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        related_name="adapted",
        help_text="input of the IP-Adapter",
    )
    parent = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="children",
        help_text="the generation that this one runs again",
    )
    engine = models.CharField(max_length=40)
    engine_reason = models.CharField(max_length=300, blank=True, help_text="why this engine was chosen")
    settings = models.JSONField(help_text="the fields of PaintSettings")
    requested = models.JSONField(
        default=dict, db_column="asked", help_text="engine and settings as sent; empty: the same as the resolved ones"
    )
    ignored = models.JSONField(default=list, help_text="settings without effect")
    painted_pixels = models.PositiveBigIntegerField(default=0, help_text="number of pixels that the mask marks")
    warnings = models.JSONField(default=list)
    webhook_url = models.CharField(max_length=MAX_URL_CHARACTERS, blank=True, help_text="called when it has ended")

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="starts, without those that were released or crashed beside others"
    )
    run_alone = models.BooleanField(
        default=False, editable=False, help_text="its process crashed: no other generation may run beside it"
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
            models.Index(fields=["owner", "-created_at"]),
            models.Index(fields=["status", "created_at"]),
            models.Index(fields=["status"], condition=models.Q(run_alone=True), name="generation_runs_alone"),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.id}"

    # Factories

    @classmethod
    def from_request(
        cls,
        request: InpaintRequest,
        *,
        owner: Any,
        engine: str,
        engine_reason: str = "",
        requested: RequestedSettings | None = None,
        ignored: Collection[str] = (),
        source_name: str = "",
        warnings: Sequence[str] = (),
        webhook_url: str = "",
        parent: Generation | None = None,
        shared: SharedImages | None = None,
    ) -> Generation:
        """Write the images to storage and return the unsaved generation; see `save_new`.

        shared: conditioning images to reuse instead of writing them again; new ones are added to it.
        """
        pictures = {name: getattr(request, name) for name in REFERENCES if getattr(request, name) is not None}
        keys = {} if shared is None else {name: (name, content_digest(picture)) for name, picture in pictures.items()}
        references = {name: shared[key] for name, key in keys.items() if shared and key in shared}
        with ExitStack() as undo:  # if one cannot be written, delete the others
            source = SourceImage.from_picture(owner, request.image, name=source_name)
            undo.callback(source.delete_files)
            mask = Mask.from_pixels(owner, request.mask)
            undo.callback(mask.delete_files)
            for name in [name for name in pictures if name not in references]:
                references[name] = ReferencePicture.from_picture(owner, pictures[name])
                undo.callback(references[name].delete_files)
            undo.pop_all()
        if shared is not None:
            shared.update({keys[name]: picture for name, picture in references.items()})
        return cls(
            owner=owner,
            source=source,
            mask=mask,
            **references,
            engine=engine,
            engine_reason=engine_reason,
            settings=request.settings.to_dict(),
            requested={} if requested is None else dataclasses.asdict(requested),
            ignored=sorted(ignored),
            painted_pixels=int(np.count_nonzero(request.mask)),
            warnings=list(warnings),
            webhook_url=webhook_url,
            parent=parent,
        )

    def copy_for_rerun(self) -> Generation:
        """An unsaved child with the same request and the same images; see `save_new`."""
        request = {
            field.name: getattr(self, field.name)
            for field in self._meta.fields
            if field.editable and field.name != "parent"
        }
        return Generation(**request, parent=self)  # the columns of the state are not editable

    def to_request(
        self, settings: PaintSettings | None = None, references: Mapping[str, Picture | None] | None = None
    ) -> InpaintRequest:
        """Rebuild the request from the stored images.

        settings, references: replace the stored ones. references: by their names in `InpaintRequest`; None removes one.
        Raises InvalidPicture, `image_gone`, where a file is gone.
        """
        sent = dict(references or {})
        try:
            kept = {name: picture.read() for name, picture in self.references.items() if name not in sent}
            return InpaintRequest(
                self.source.read(), self.mask.read_pixels(), settings or self.paint_settings, **kept | sent
            )
        except FileNotFoundError as error:
            raise self.image_gone() from error

    @staticmethod
    def image_gone() -> InvalidPicture:
        """The error for a file of a generation that is no longer in storage."""
        return InvalidPicture("A picture of this generation is gone; send it again.", code="image_gone", field="image")

    # Mutators

    def save_new(self) -> None:
        """Save the rows of a generation made by `from_request` or `copy_for_rerun`."""
        with transaction.atomic(savepoint=False):
            for picture in self.pictures:
                if picture._state.adding:  # otherwise it is shared with the parent and already saved
                    picture.save(force_insert=True)
            self.save(force_insert=True)
            self._publish(events.queued())

    def start(self) -> bool:
        """Claim a queued generation: this process holds it, by the new fence, until the lease expires."""
        return self._update_where(
            models.Q(status=Status.QUEUED, cancel_requested=False),
            events.running(),
            status=Status.RUNNING,
            started_at=Now(),
            attempts=models.F("attempts") + 1,
            fence=models.F("fence") + 1,
            lease_until=in_seconds(settings.LEASE_SECONDS),
            worker=WORKER,
            step=0,
            steps=0,
        )

    def advance(
        self, step: int, steps: int, *, seconds_left: float | None = None, preview: events.Preview | None = None
    ) -> bool:
        """Record a step and renew the lease. False: stop, it was cancelled or another worker holds it.

        steps: 0 while unknown, such as before a model is loaded. seconds_left and preview are sent to listeners and not
        stored.
        """
        event = events.progress(step, steps, seconds_left=seconds_left, preview=preview) if steps else events.running()
        return self._update_where(
            self._held & models.Q(cancel_requested=False),
            event,
            step=step,
            steps=steps,
            lease_until=in_seconds(settings.LEASE_SECONDS),
        )

    def step_down(self, engine: str, settings: PaintSettings, *, ignored: Collection[str], reason: str) -> bool:
        """Record a fallback to another engine. False: stop, it was cancelled or another worker holds it."""
        return self._update_where(
            self._held & models.Q(cancel_requested=False),
            events.running(),
            engine=engine,
            engine_reason=reason,
            settings=settings.to_dict(),
            ignored=sorted(ignored),
            step=0,
            steps=0,
        )

    def succeed(self, images: Sequence[GeneratedImage]) -> bool:
        """Save the results, all or none. False if it was cancelled meanwhile or another worker holds it."""
        with transaction.atomic():
            if not self._update_where(
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
        return self._update_where(
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
        if self._update_where(queued, events.cancelled(), status=Status.CANCELLED, finished_at=Now()):
            return True
        return self._update_where(models.Q(status=Status.RUNNING), None, cancel_requested=True)

    def end_cancelled(self) -> bool:
        """Record that a requested cancellation has stopped the engine."""
        held = self._held & models.Q(cancel_requested=True)
        return self._update_where(held, events.cancelled(), status=Status.CANCELLED, finished_at=Now())

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
        if self._update_where(held, events.queued(), status=Status.QUEUED, step=0, fence=fence, **changes):
            return True
        return self.end_cancelled()

    @property
    def _held(self) -> models.Q:
        """Running, under the fence that was read."""
        return models.Q(status=Status.RUNNING, fence=self.fence)

    def _update_where(self, condition: models.Q, event: events.Event | None, **changes: Any) -> bool:
        """One UPDATE of this row where `condition` is true; the event is published on commit."""
        former_fence = self.fence
        try:
            with transaction.atomic():
                if not Generation.objects.filter(condition, pk=self.pk).update(**changes):
                    return False
                if changes.get("status") in ENDED:
                    transaction.on_commit(lambda: completion_waiters.wake(self.pk), robust=True)
                if event is not None:
                    self._publish(event)
                # In the same transaction: the fence we read is the one we set.
                self.refresh_from_db(fields=list(changes))
                if changes.get("status") in ENDED:
                    WebhookDelivery.create_for(self)
        except DatabaseError:
            self.fence = former_fence  # the commit failed, as on a full disk, and the former fence is still valid
            raise
        return True

    def _publish(self, event: events.Event) -> None:
        """Robust: an event that cannot be sent must not undo or hide the committed change."""
        transaction.on_commit(lambda: events.publish(self.pk, self.owner_id, event), robust=True)

    # Queries

    @classmethod
    def startable(cls) -> models.QuerySet[Generation]:
        """Queued, and past their earliest start."""
        due = models.Q(lease_until=None) | models.Q(lease_until__lte=Now())
        return cls.objects.filter(due, status=Status.QUEUED)

    @classmethod
    def running_here(cls) -> models.QuerySet[Generation]:
        """Held by this process."""
        return cls.objects.filter(status=Status.RUNNING, worker=WORKER)

    @classmethod
    def abandoned(cls, *, grace_seconds: float) -> models.QuerySet[Generation]:
        """Running with a lease that expired at least `grace_seconds` ago."""
        return cls.objects.filter(status=Status.RUNNING, lease_until__lt=in_seconds(-grace_seconds))

    # Properties

    @property
    def references(self) -> dict[str, ReferencePicture]:
        """The conditioning images, by their names in `InpaintRequest`."""
        pictures = {name: getattr(self, name) for name in REFERENCES}
        return {name: picture for name, picture in pictures.items() if picture is not None}

    @property
    def pictures(self) -> list[StoredPicture]:
        """All input images."""
        return [self.source, self.mask, *self.references.values()]

    @property
    def paint_settings(self) -> PaintSettings:
        return PaintSettings.from_dict(self.settings)

    @property
    def requested_settings(self) -> RequestedSettings:
        """The settings as sent, without defaults, for running again. Not validated: limits may have changed."""
        return RequestedSettings(**self.requested) if self.requested else RequestedSettings(self.engine, self.settings)

    @property
    def prompt(self) -> str:
        return str(self.settings["prompt"])

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """Seconds from start to end; None before both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
