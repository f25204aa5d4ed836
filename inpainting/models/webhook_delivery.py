"""Webhook messages, and each attempt to deliver them."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy, pgettext_lazy

from inpainting.database.leases import NOT_LEASED, ConditionalUpdate, seconds_from_now
from inpainting.net import host_of, site_policy

MAX_URL_CHARACTERS = 2_000
MAX_ANSWER_BYTES = 512
HOST_PAUSE_SECONDS = 5
"""After a failed attempt, the shortest pause until its owner's next attempt at any URL of that host."""
PAUSES_KEPT = timedelta(days=1)
"""How long a pause that is over stays stored, if no attempt succeeds."""
MAX_MESSAGE_CHARACTERS = 1_000
"""The longest error message in a webhook. JSON escapes a character to at most 12 bytes, so a body stays below 20 kB."""


def new_webhook_id() -> str:
    """Return an id without a full stop, which separates the parts of the signed text (Standard Webhooks 1.0)."""
    return f"msg_{uuid.uuid4().hex}"


class WebhookEvent(models.TextChoices):
    SUCCEEDED = "generation.succeeded", gettext_lazy("Succeeded")
    FAILED = "generation.failed", pgettext_lazy("a generation", "Failed")
    CANCELLED = "generation.cancelled", gettext_lazy("Cancelled")
    ANALYSIS_SUCCEEDED = "analysis.succeeded", gettext_lazy("Analysis Succeeded")
    ANALYSIS_FAILED = "analysis.failed", gettext_lazy("Analysis Failed")
    ANALYSIS_CANCELLED = "analysis.cancelled", gettext_lazy("Analysis Cancelled")
    TEST = "test", gettext_lazy("Test")


class DeliveryState(models.TextChoices):
    PENDING = "pending", gettext_lazy("Pending")
    DELIVERED = "delivered", gettext_lazy("Delivered")
    FAILED = "failed", pgettext_lazy("a message", "Failed")
    DISABLED = "disabled", pgettext_lazy("a message", "Disabled")  # the receiver responded with 410 Gone


class Ended(Protocol):
    """The fields of `QueuedWork` that a message contains. A protocol, because the model imports this module.

    NAME: the kind of work, "generation" or "analysis".
    """

    NAME: ClassVar[str]
    pk: Any
    owner_id: Any
    status: Any
    error_code: Any
    error_message: Any
    webhook_url: Any
    service: Any


class WebhookPause(models.Model):
    """Until when nothing more is sent to a host for an owner, since the last attempt there failed.

    One row, however many deliveries wait. All times are the database's.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhook_pauses", db_constraint=False
    )
    host = models.CharField(max_length=253, editable=False, help_text="as of the deliveries")
    until = models.DateTimeField(editable=False)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "host"], name="one_pause_per_owner_and_host")
        ]

    def __str__(self) -> str:
        return f"{self.host} until {self.until}"

    @classmethod
    def begin(cls, delivery: WebhookDelivery) -> None:
        """Let the owner's deliveries to the host wait for HOST_PAUSE_SECONDS from now on."""
        until = seconds_from_now(HOST_PAUSE_SECONDS)
        WebhookPause.objects.bulk_create(
            [WebhookPause(owner_id=delivery.owner_id, host=delivery.host, until=until)],
            update_conflicts=True,
            unique_fields=["owner", "host"],
            update_fields=["until"],
        )

    @classmethod
    def end(cls, delivery: WebhookDelivery) -> None:
        cls.objects.filter(owner=delivery.owner_id, host=delivery.host).delete()

    @classmethod
    def prune(cls, now: datetime) -> None:
        """Delete the pauses of hosts to which nothing was sent for long."""
        cls.objects.filter(until__lt=now - PAUSES_KEPT).delete()


def not_paused() -> models.Q:
    """Return the condition for deliveries to hosts without a pause. Not Now(), as for leases."""
    pauses = WebhookPause.objects.filter(owner=models.OuterRef("owner"), host=models.OuterRef("host"))
    return ~models.Q(models.Exists(pauses.filter(until__gt=seconds_from_now(0))))


class WebhookDelivery(ConditionalUpdate):
    """One message to one URL.

    `webhook_id` is the same in all attempts, so that receivers can recognise duplicates. As with generations, a sender
    holds a delivery by its lease and fence: changes by a sender whose lease was taken over have no effect. All times
    are the database's.
    """

    webhook_id = models.CharField(max_length=40, unique=True, default=new_webhook_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhook_deliveries")
    generation = models.ForeignKey(
        "inpainting.Generation", on_delete=models.SET_NULL, null=True, related_name="webhook_deliveries",
        help_text=gettext_lazy("empty: a test, an analysis, or deleted since"),
    )  # fmt: skip
    event = models.CharField(max_length=40, choices=WebhookEvent.choices, editable=False)
    url = models.CharField(max_length=MAX_URL_CHARACTERS, editable=False)
    host = models.CharField(max_length=253, default="", editable=False, help_text="of the URL, in its canonical form")
    data = models.JSONField(default=dict, editable=False, help_text=gettext_lazy("the body of the message"))

    state = models.CharField(
        max_length=10, choices=DeliveryState.choices, default=DeliveryState.PENDING, editable=False
    )
    tries = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text=gettext_lazy("failed ones, since sent or resent")
    )
    next_attempt_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    fence = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        verbose_name_plural = "webhook deliveries"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "next_attempt_at"]),
            models.Index(fields=["owner", "-id"]),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["generation", "event"], name="one_message_per_generation_and_event")
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.webhook_id}"

    # Factories

    @classmethod
    def create_for(cls, ended: Ended) -> None:
        """Store the message for an ended generation or analysis. Call it in the transaction that ends it."""
        if not ended.webhook_url:
            return
        error = {"code": ended.error_code, "message": ended.error_message[:MAX_MESSAGE_CHARACTERS]}
        cls.objects.create(
            owner_id=ended.owner_id,
            generation_id=ended.pk if ended.NAME == "generation" else None,
            event=f"{ended.NAME}.{ended.status}",
            url=ended.webhook_url,
            host=host_of(ended.webhook_url, site_policy()),
            data={
                "service": ended.service,
                "id": str(ended.pk),
                "status": str(ended.status),
                "error": error if error["code"] else None,
            },
            next_attempt_at=Now(),
        )

    @classmethod
    def create_test(cls, owner: Any, url: str) -> WebhookDelivery:
        """Store a message of type `test`, with which users check their receivers."""
        host = host_of(url, site_policy())
        delivery = cls.objects.create(owner=owner, event=WebhookEvent.TEST, url=url, host=host, next_attempt_at=Now())
        delivery.refresh_from_db()
        return delivery

    # State changes: each is one conditional UPDATE, and returns False if the condition no longer held

    def claim(self, *, lease_seconds: float) -> bool:
        """Lease the delivery for one attempt. False: another sender holds it, or it is no longer due."""
        return self._update_where(
            models.Q(state=DeliveryState.PENDING, next_attempt_at__lte=Now()) & NOT_LEASED & not_paused(),
            fence=models.F("fence") + 1,
            lease_until=seconds_from_now(lease_seconds),
        )

    def mark_delivered(self, attempt: WebhookAttempt) -> bool:
        """Record the attempt that succeeded; other deliveries to the host need not wait any more."""
        with transaction.atomic():
            if not self._record(attempt, state=DeliveryState.DELIVERED, delivered_at=Now(), next_attempt_at=None):
                return False
            WebhookPause.end(self)
        return True

    def schedule_retry(self, attempt: WebhookAttempt, *, pause_seconds: float) -> bool:
        """Record a failed attempt and when the next one is due."""
        return self._record_failure(attempt, next_attempt_at=seconds_from_now(pause_seconds))

    def mark_failed(self, attempt: WebhookAttempt) -> bool:
        """Record the last failed attempt."""
        return self._record_failure(attempt, state=DeliveryState.FAILED, next_attempt_at=None)

    def disable(self, attempt: WebhookAttempt) -> bool:
        """Stop this delivery and all pending ones of the same owner to the same URL."""
        with transaction.atomic():
            if not self._record(attempt, state=DeliveryState.DISABLED, next_attempt_at=None):
                return False
            waiting = WebhookDelivery.objects.filter(NOT_LEASED, state=DeliveryState.PENDING)
            waiting.filter(owner=self.owner_id, url=self.url).update(state=DeliveryState.DISABLED, next_attempt_at=None)
        return True

    def resend(self) -> bool:
        """Start again from the first attempt, with the same id, without a pause. False if the delivery was deleted."""
        changes: dict[str, Any] = {"state": DeliveryState.PENDING, "tries": 0, "delivered_at": None}
        WebhookPause.end(self)
        return self._update_where(models.Q(), next_attempt_at=Now(), **changes)

    def _record_failure(self, attempt: WebhookAttempt, **changes: Any) -> bool:
        """Record a failed attempt, and let its owner's other deliveries to the host wait.

        Otherwise a user could direct many requests at a server that wants none, with many webhooks and their retries.
        """
        with transaction.atomic():
            if not self._record(attempt, tries=models.F("tries") + 1, **changes):
                return False
            WebhookPause.begin(self)
        return True

    def _record(self, attempt: WebhookAttempt, **changes: Any) -> bool:
        """Store the attempt with its consequences. Neither if another sender has taken the delivery over."""
        with transaction.atomic():
            if not self._update_where(
                models.Q(fence=self.fence, lease_until__isnull=False), lease_until=None, **changes
            ):
                return False
            attempt.save(force_insert=True)
        return True

    @classmethod
    def release_leases(cls) -> None:
        """Release all leases. For the start of a process that is the only sender."""
        cls.objects.filter(state=DeliveryState.PENDING).update(lease_until=None)

    # Queries

    @classmethod
    def waiting(cls) -> models.QuerySet[WebhookDelivery]:
        """Return those whose next attempt is due and that no pause of their host holds back."""
        return cls.objects.filter(not_paused(), state=DeliveryState.PENDING, next_attempt_at__lte=Now())

    @classmethod
    def due(cls) -> models.QuerySet[WebhookDelivery]:
        """Return the due deliveries, first of owners with few running attempts: a slow receiver delays no other."""
        sending = cls.objects.filter(owner=models.OuterRef("owner"), lease_until__gt=Now())
        count = sending.order_by().values("owner").annotate(n=models.Count("*")).values("n")
        due = cls.waiting().filter(NOT_LEASED)
        return due.annotate(sending=Coalesce(models.Subquery(count), 0)).order_by("sending", "next_attempt_at", "id")


class WebhookAttempt(models.Model):
    """One attempt: the HTTP status of the response, or why there was none."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField(auto_now_add=True)
    status = models.PositiveSmallIntegerField(
        null=True, editable=False, help_text=gettext_lazy("HTTP status of the answer")
    )
    failure = models.CharField(
        max_length=40, blank=True, editable=False, help_text=gettext_lazy("why there was no answer")
    )
    milliseconds = models.PositiveIntegerField(editable=False)
    answer = models.BinaryField(max_length=MAX_ANSWER_BYTES, default=b"", editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.status or self.failure} after {self.milliseconds} ms"

    @property
    def answer_text(self) -> str:
        """The start of the response body, decoded as UTF-8 with replacement characters."""
        return bytes(self.answer).decode("utf-8", "replace")
