"""People and the keys of their programs."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from accounts import live

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_START = "dl_live_"
SECRET_CHARACTERS = 43
"""43 characters out of 62 hold 256 bits."""
TICKET_SECONDS = 60
"""How long a ticket may lie unused."""
LOCAL_EMAIL = "local@localhost"
"""The account that requests without a key act as, where DREAMLAYER_ANONYMOUS_API lets them in. Nobody can take it."""


class Scope(models.TextChoices):
    """What a key may do. A person who is signed in may do all of it."""

    GENERATE = "generate", "generate: start generations and cancel them"
    READ = "read", "read: see the history and its pictures"
    MANAGE = "manage", "manage: delete generations, manage webhooks"


def all_scopes() -> list[str]:
    return list(Scope.values)


def check_scopes(scopes: object) -> None:
    """Raises ValidationError for anything but a list of one or more different scopes."""
    if not isinstance(scopes, list) or not scopes:
        raise ValidationError("A key needs at least one scope.", code="scope_required")
    unknown = [scope for scope in scopes if scope not in Scope.values]
    if unknown:
        raise ValidationError(f"There is no scope {unknown[0]!r}; there are {', '.join(Scope.values)}.", code="scope")
    if len(set(scopes)) != len(scopes):
        raise ValidationError("A scope is named twice.", code="scope")


class UserManager(BaseUserManager["User"]):
    """Users are known by their e-mail address, kept in lower case; there is no user name."""

    def create_user(self, email: str, password: str | None = None, *, is_staff: bool = False) -> User:
        return self._make(email, password, is_staff=is_staff, is_superuser=False)

    def create_superuser(self, email: str, password: str | None = None) -> User:
        return self._make(email, password, is_staff=True, is_superuser=True)

    def local(self) -> User:
        """The account of requests without a key; made when first needed, without a password."""
        return self.get_or_create(email=LOCAL_EMAIL, defaults={"password": make_password(None)})[0]

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)

    def _make(self, email: str, password: str | None, *, is_staff: bool, is_superuser: bool) -> User:
        user = self.model(email=email.lower(), is_staff=is_staff, is_superuser=is_superuser)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractUser):
    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = UserManager()  # type: ignore[assignment, misc]

    def __str__(self) -> str:
        return self.email


class SignedInRequest(HttpRequest):
    """What a view behind `login_required` gets."""

    user: User


class ApiKey(models.Model):
    """A program's key. Only its prefix and the hash of the whole are kept; the key itself is shown once."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, default="key")
    prefix = models.CharField(max_length=20, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=all_scopes, validators=[check_scopes], editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def issue(
        cls,
        owner: User,
        *,
        name: str = "key",
        scopes: Iterable[str] = tuple(Scope.values),
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key, of all scopes and for ever unless said otherwise. Raises ValidationError for wrong scopes.

        Returns its row and the key's text, which nobody can read again.
        The text is dl_live_<8 characters>_<43 of secret><6 of CRC-32>: a fixed start and a checksum let scanners find
        keys that were published by mistake, as GitHub's tokens do.
        """
        prefix = KEY_START + _random(8)
        body = f"{prefix}_{_random(SECRET_CHARACTERS)}"
        text = body + _checksum(body)
        granted = list(scopes)
        check_scopes(granted)
        key = cls.objects.create(
            owner=owner, name=name, prefix=prefix, digest=_digest(text), scopes=granted, expires_at=expires_at
        )
        return key, text

    @classmethod
    def find(cls, text: str) -> ApiKey | None:
        """The key whose text this is, revoked and expired ones too; None for anything else."""
        if not text.startswith(KEY_START) or _checksum(text[:-6]) != text[-6:]:
            return None
        prefix = text[: len(KEY_START) + 8]
        key = cls.objects.select_related("owner").filter(prefix=prefix).first()
        # A plain fast hash is enough for 256 random bits (ASVS 5.0, 6.5.2).
        return key if key and hmac.compare_digest(key.digest, _digest(text)) else None

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def touch(self) -> None:
        """Note that the key was used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or (now - self.last_used_at).total_seconds() > 60:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)

    def revoke(self) -> bool:
        """End the key from the next request on, and its sockets now. False if it was revoked before."""
        revoked = bool(ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now()))
        if revoked:
            live.end(live.group_of_key(self.pk))
        return revoked

    def allows(self, scope: Scope) -> bool:
        """Whether it works now, for this: neither revoked nor expired, its owner active, the scope among its own."""
        return self.revoked_at is None and not self.has_expired and self.owner.is_active and scope in self.scopes


class Ticket(models.Model):
    """Opens one websocket for a key, once and within TICKET_SECONDS: the key itself never stands in an address."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="tickets")
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"ticket of {self.key}"

    @classmethod
    def issue(cls, key: ApiKey) -> str:
        """The ticket's text, of which only the hash is kept. Tickets that nobody used in time go on the way."""
        now, text = timezone.now(), _random(SECRET_CHARACTERS)
        cls.objects.filter(expires_at__lte=now).delete()
        cls.objects.create(key=key, digest=_digest(text), expires_at=now + timedelta(seconds=TICKET_SECONDS))
        return text

    @classmethod
    def redeem(cls, text: str) -> ApiKey | None:
        """The key that may read by this ticket, which is used up by asking; None for anything else.

        Of two who bring the same one, the database lets one delete it.
        """
        fresh = cls.objects.select_related("key__owner").filter(digest=_digest(text), expires_at__gt=timezone.now())
        ticket = fresh.first()
        if ticket is None or not cls.objects.filter(pk=ticket.pk).delete()[0]:
            return None
        return ticket.key if ticket.key.allows(Scope.READ) else None


def _random(characters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str) -> str:
    """CRC-32 in six characters of base 62."""
    number, characters = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        characters = ALPHABET[digit] + characters
    return characters
