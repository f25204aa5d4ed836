"""What is told to other machines: which message, to whom, signed with what, and every try to deliver it."""

from __future__ import annotations

import base64
import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from inpainting.database_clock import in_seconds

SECRET_START = "whsec_"  # noqa: S105 - what secrets start with  # nosec B105
SECRET_BYTES = 32
ROTATION = timedelta(hours=24)
"""How long messages are signed with the former secret too."""
MAX_URL_CHARACTERS = 2_000
MAX_ANSWER_BYTES = 512
MAX_MESSAGE_CHARACTERS = 1_000
"""Of an error: twelve bytes each at worst, so that a body stays below 20 kB."""


def new_seed() -> str:
    return secrets.token_hex(SECRET_BYTES)


def new_webhook_id() -> str:
    """No full stop in it, for the signed text is parted by them (Standard Webhooks 1.0, signature scheme)."""
    return f"msg_{uuid.uuid4().hex}"


class WebhookSecret(models.Model):
    """What an owner's messages are signed with: the newest one, and its predecessor until that retires.

    Only a seed is kept. The secret is made of it and of SECRET_KEY, so a copy of the database forges no message; with
    a new SECRET_KEY come new secrets, and Django's SECRET_KEY_FALLBACKS let both sign for a while.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhook_secrets")
    seed = models.CharField(max_length=2 * SECRET_BYTES, default=new_seed, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    retires_at = models.DateTimeField(null=True, editable=False, help_text="empty: the present one")

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at", "-id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["owner"], condition=models.Q(retires_at=None), name="one_present_webhook_secret"
            )
        ]

    def __str__(self) -> str:
        return f"{SECRET_START}… of {self.owner}"

    @classmethod
    def present(cls, owner: Any) -> WebhookSecret:
        """The owner's secret, made when it is first asked for."""
        return cls.objects.get_or_create(owner=owner, retires_at=None)[0]

    @classmethod
    def active(cls, owner: Any) -> list[WebhookSecret]:
        """What a message is signed with now, the present one first: one, or two after a rotation."""
        cls.present(owner)
        current = models.Q(retires_at=None) | models.Q(retires_at__gt=Now())
        return list(cls.objects.filter(current, owner=owner))

    @classmethod
    def rotate(cls, owner: Any) -> WebhookSecret:
        """A new secret. The one before it signs too for a day; older ones end at once."""
        with transaction.atomic():
            # Two rotations of one owner, one after the other. SQLite's transactions are exclusive anyway.
            get_user_model().objects.select_for_update().get(pk=owner.pk)
            theirs = cls.objects.filter(owner=owner)
            theirs.exclude(retires_at=None).delete()
            theirs.update(retires_at=timezone.now() + ROTATION)
            return cls.objects.create(owner=owner)

    @property
    def texts(self) -> list[str]:
        """`whsec_` and 32 bytes in base64: with the present SECRET_KEY, then with each that it replaced."""
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return [SECRET_START + base64.b64encode(self._derived(key)).decode() for key in keys]

    def _derived(self, key: str | bytes) -> bytes:
        return salted_hmac("dreamlayer.webhook-secret", self.seed, secret=key, algorithm="sha256").digest()


class WebhookEvent(models.TextChoices):
    SUCCEEDED = "generation.succeeded"
    FAILED = "generation.failed"
    CANCELLED = "generation.cancelled"
    TEST = "test"


class DeliveryState(models.TextChoices):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DISABLED = "disabled"  # the receiver said that it is gone


class EndedGeneration(Protocol):
    """What a message contains of a generation. Not the model itself, which imports this module."""

    pk: Any
    owner_id: Any
    status: Any
    error_code: Any
    error_message: Any
    webhook_url: Any


class WebhookDelivery(models.Model):
    """One message to one URL, from the moment of what it tells until it is delivered or given up.

    Its `webhook_id` stays the same over all tries, so that a receiver knows what it has had. Whoever sends it holds it
    by its fence until the lease runs out, as with generations; times are the database's.
    """

    webhook_id = models.CharField(max_length=40, unique=True, default=new_webhook_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhook_deliveries")
    generation = models.ForeignKey(
        "inpainting.Generation", on_delete=models.SET_NULL, null=True, related_name="webhook_deliveries",
        help_text="empty: a test, or deleted since",
    )  # fmt: skip
    event = models.CharField(max_length=40, choices=WebhookEvent.choices, editable=False)
    url = models.CharField(max_length=MAX_URL_CHARACTERS, editable=False)
    data = models.JSONField(default=dict, editable=False, help_text="what the message tells of the generation")

    state = models.CharField(
        max_length=10, choices=DeliveryState.choices, default=DeliveryState.PENDING, editable=False
    )
    tries = models.PositiveSmallIntegerField(default=0, editable=False, help_text="failed ones, since sent or resent")
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
    def announce(cls, generation: EndedGeneration) -> None:
        """Keep the message that a generation has ended, in the very transaction that ends it."""
        if not generation.webhook_url:
            return
        error = {"code": generation.error_code, "message": generation.error_message[:MAX_MESSAGE_CHARACTERS]}
        cls.objects.create(
            owner_id=generation.owner_id,
            generation=generation,
            event=f"generation.{generation.status}",
            url=generation.webhook_url,
            data={
                "id": str(generation.pk),
                "status": str(generation.status),
                "error": error if error["code"] else None,
            },
            next_attempt_at=Now(),
        )

    @classmethod
    def test(cls, owner: Any, url: str) -> WebhookDelivery:
        """A message that tells nothing, for whoever sets up a receiver."""
        made = cls.objects.create(owner=owner, event=WebhookEvent.TEST, url=url, next_attempt_at=Now())
        made.refresh_from_db()
        return made

    # Mutators

    def claim(self, *, lease_seconds: float) -> bool:
        """Take it to send it. False: somebody else has it, or it is not due any more."""
        return self._move(
            models.Q(state=DeliveryState.PENDING, next_attempt_at__lte=Now()) & _not_leased(),
            fence=models.F("fence") + 1,
            lease_until=in_seconds(lease_seconds),
        )

    def arrive(self, attempt: WebhookAttempt) -> bool:
        """It has arrived."""
        return self._note(attempt, state=DeliveryState.DELIVERED, delivered_at=Now(), next_attempt_at=None)

    def try_again(self, attempt: WebhookAttempt, *, pause_seconds: float) -> bool:
        """It has not arrived, and is tried again."""
        return self._note(attempt, tries=models.F("tries") + 1, next_attempt_at=in_seconds(pause_seconds))

    def give_up(self, attempt: WebhookAttempt) -> bool:
        """It has not arrived, and that was the last try."""
        return self._note(attempt, tries=models.F("tries") + 1, state=DeliveryState.FAILED, next_attempt_at=None)

    def disable(self, attempt: WebhookAttempt) -> bool:
        """Nobody wants it, nor what else waits for the same URL of the same owner."""
        with transaction.atomic():
            if not self._note(attempt, state=DeliveryState.DISABLED, next_attempt_at=None):
                return False
            waiting = WebhookDelivery.objects.filter(_not_leased(), state=DeliveryState.PENDING)
            waiting.filter(owner=self.owner_id, url=self.url).update(state=DeliveryState.DISABLED, next_attempt_at=None)
        return True

    def resend(self) -> bool:
        """Send it from the beginning of the schedule, whatever became of it; its id stays. False: it is gone."""
        changes: dict[str, Any] = {"state": DeliveryState.PENDING, "tries": 0, "delivered_at": None}
        return self._move(models.Q(), next_attempt_at=Now(), **changes)

    def _note(self, attempt: WebhookAttempt, **changes: Any) -> bool:
        """Keep the attempt and what follows from it, both or, where somebody else has taken it over, neither."""
        with transaction.atomic():
            if not self._move(models.Q(fence=self.fence, lease_until__isnull=False), lease_until=None, **changes):
                return False
            attempt.save(force_insert=True)
        return True

    def _move(self, allowed: models.Q, **changes: Any) -> bool:
        with transaction.atomic():
            if not WebhookDelivery.objects.filter(allowed, pk=self.pk).update(**changes):
                return False
            self.refresh_from_db(fields=list(changes))
        return True

    @classmethod
    def let_go(cls) -> None:
        """Whoever was sending is gone: what they held is sent again."""
        cls.objects.filter(state=DeliveryState.PENDING).update(lease_until=None)

    # Queries

    @classmethod
    def due(cls) -> models.QuerySet[WebhookDelivery]:
        """To be sent now: first of those to whom least is being sent, so that one slow receiver holds up no other."""
        sending = cls.objects.filter(owner=models.OuterRef("owner"), lease_until__gt=Now())
        count = sending.order_by().values("owner").annotate(n=models.Count("*")).values("n")
        due = cls.objects.filter(_not_leased(), state=DeliveryState.PENDING, next_attempt_at__lte=Now())
        return due.annotate(sending=Coalesce(models.Subquery(count), 0)).order_by("sending", "next_attempt_at", "id")


class WebhookAttempt(models.Model):
    """One try: the status that came back, or the name of what went wrong."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField(auto_now_add=True)
    status = models.PositiveSmallIntegerField(null=True, editable=False, help_text="HTTP status of the answer")
    failure = models.CharField(max_length=40, blank=True, editable=False, help_text="why there was no answer")
    milliseconds = models.PositiveIntegerField(editable=False)
    answer = models.BinaryField(max_length=MAX_ANSWER_BYTES, default=b"", editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.status or self.failure} after {self.milliseconds} ms"

    @property
    def answer_text(self) -> str:
        """The beginning of the answer, as text whatever it was."""
        return bytes(self.answer).decode("utf-8", "replace")


def _not_leased() -> models.Q:
    return models.Q(lease_until=None) | models.Q(lease_until__lte=Now())
