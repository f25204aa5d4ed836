"""The secrets that webhook messages are signed with."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of every secret  # nosec B105
SECRET_BYTES = 32
ROTATION = timedelta(hours=24)
"""How long the previous secret stays valid after a rotation."""


def new_seed() -> str:
    return secrets.token_hex(SECRET_BYTES)


class WebhookSecret(models.Model):
    """A signing secret of an owner. After a rotation the previous secret stays valid until it retires.

    Only a seed is stored. The secret is derived from it and SECRET_KEY, so a copy of the database is not enough to
    forge messages. A new SECRET_KEY changes all secrets; with SECRET_KEY_FALLBACKS messages are signed with both.
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
        return f"{SECRET_PREFIX}… of {self.owner}"

    @classmethod
    def current(cls, owner: Any) -> WebhookSecret:
        """Return the owner's newest secret; the first call creates it."""
        return cls.objects.get_or_create(owner=owner, retires_at=None)[0]

    @classmethod
    def active(cls, owner: Any) -> list[WebhookSecret]:
        """Return the valid secrets, newest first: one, or two after a rotation."""
        cls.current(owner)
        valid = models.Q(retires_at=None) | models.Q(retires_at__gt=Now())
        return list(cls.objects.filter(valid, owner=owner))

    @classmethod
    def rotate(cls, owner: Any) -> WebhookSecret:
        """Create a new secret. The previous one stays valid for ROTATION; older ones are deleted."""
        with transaction.atomic():
            # Serialises concurrent rotations of one owner. SQLite's write transactions are exclusive anyway.
            get_user_model().objects.select_for_update().get(pk=owner.pk)
            others = cls.objects.filter(owner=owner)
            others.exclude(retires_at=None).delete()
            others.update(retires_at=timezone.now() + ROTATION)
            return cls.objects.create(owner=owner)

    @property
    def texts(self) -> list[str]:
        """Return `whsec_` and 32 bytes in base64, derived with SECRET_KEY and with each of SECRET_KEY_FALLBACKS."""
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return [SECRET_PREFIX + base64.b64encode(self._derived(key)).decode() for key in keys]

    def _derived(self, key: str | bytes) -> bytes:
        return salted_hmac("dreamlayer.webhook-secret", self.seed, secret=key, algorithm="sha256").digest()
