"""Users, API keys, and the one-time tickets that open websockets."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from accounts import socket_revocation
from accounts.addresses import normal_address
from accounts.audit import AuditEntry
from accounts.locks import write_unless_locked

__all__ = ["ApiKey", "AuditEntry", "Scope", "Ticket", "User"]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_START, PATH_TOKEN_START = "dl_live_", "dl_path_"
"""How keys and path tokens start, of the same length."""
SECRET_CHARACTERS = 43
"""43 characters out of 62 hold 256 bits."""
TICKET_SECONDS = 60
"""Lifetime of an unused ticket."""
LOCAL_EMAIL = "local@localhost"
"""The account of requests without a key, with DREAMLAYER_ANONYMOUS_API. The address cannot be registered."""


class Scope(models.TextChoices):
    """The permissions of an API key. A browser session has all scopes."""

    GENERATE = "generate", gettext_lazy("generate: start generations and cancel them")
    READ = "read", gettext_lazy("read: see the history and its images")
    MANAGE = "manage", gettext_lazy("manage: delete generations, manage webhooks")


def all_scopes() -> list[str]:
    return list(Scope.values)


def check_scopes(scopes: object) -> None:
    """Raise ValidationError unless `scopes` is a non-empty list of distinct scopes."""
    if not isinstance(scopes, list) or not scopes:
        raise ValidationError(gettext("A key needs at least one scope."), code="scope_required")
    unknown = [scope for scope in scopes if scope not in Scope.values]
    if unknown:
        known = ", ".join(Scope.values)
        raise ValidationError(
            gettext("Unknown scope {name!r}; the scopes are {known}.").format(name=unknown[0], known=known),
            code="scope",
        )
    if len(set(scopes)) != len(scopes):
        raise ValidationError(gettext("A scope is given twice."), code="scope")


def check_service(service: str) -> None:
    """Raise ValidationError unless the service has path tokens."""
    if service not in settings.PATH_TOKEN_SERVICES:
        known = ", ".join(settings.PATH_TOKEN_SERVICES)
        raise ValidationError(
            gettext("{service!r} has no path tokens; these have: {known}.").format(service=service, known=known),
            code="service",
        )


class UserManager(BaseUserManager["User"]):
    """Identifies users by e-mail address, stored as `normal_address` writes it. There is no user name."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """Return the form in which an address is stored. Django calls it wherever a form or a command adds a user.

        Raises ValidationError.
        """
        return normal_address(email or "")

    def create_user(self, email: str, password: str | None = None, *, is_staff: bool = False) -> User:
        return self._create(email, password, is_staff=is_staff, is_superuser=False)

    def create_superuser(self, email: str, password: str | None = None) -> User:
        return self._create(email, password, is_staff=True, is_superuser=True)

    def get_local_user(self) -> User:
        """Return the account of requests without a key; the first call creates it, without a password."""
        return self.get_or_create(email=LOCAL_EMAIL, defaults={"password": make_password(None)})[0]

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=self.address_to_find(username or ""))

    def address_to_find(self, typed: str) -> str:
        """Return the form in which a typed address is looked up: as it is for accounts that were stored so before
        addresses were normalised, and for what is no address."""
        if typed.isascii() or self.filter(email__iexact=typed).exists():
            return typed
        try:
            return self.normalize_email(typed)
        except ValidationError:
            return typed

    def _create(self, email: str, password: str | None, *, is_staff: bool, is_superuser: bool) -> User:
        user = self.model(email=self.normalize_email(email), is_staff=is_staff, is_superuser=is_superuser)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractUser):
    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)
    language = models.CharField(max_length=16, blank=True, default="", db_default="", editable=False)
    """The code of the language of pages and of messages to the account's programs; empty for that of the browser."""

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = UserManager()  # type: ignore[assignment, misc]

    def __str__(self) -> str:
        return self.email

    @property
    def chosen_language(self) -> str:
        """The language of the account; "" for that of the browser, also where the chosen one is offered no more."""
        return self.language if self.language in dict(settings.LANGUAGES) else ""

    @classmethod
    def reference(cls, pk: int) -> User:
        """Return a user of whom only the key is set, without a query, for conditions and foreign keys.

        The role of a worker may read no other column (deploy/postgresql/rights.sql).
        """
        return cls(pk=pk)


class SignedInRequest(HttpRequest):
    """The request of a view behind `login_required`."""

    user: User


class ApiKey(models.Model):
    """An API key, or a path token (see accounts/path_tokens.py), which has a service. Only the prefix and a hash of the
    full key are stored; the key is shown once, when it is issued."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, default="key")
    prefix = models.CharField(max_length=20, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=all_scopes, validators=[check_scopes], editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    ends_links = models.BooleanField(
        default=False, editable=False, help_text=gettext_lazy("signed links in its API responses end with the key")
    )
    service = models.CharField(
        max_length=40,
        default="",
        db_default="",
        editable=False,
        help_text=gettext_lazy("of a path token: the compatible API in whose paths it is sent"),
    )

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
        ends_links: bool = False,
        service: str = "",
    ) -> tuple[ApiKey, str]:
        """Create a key and return it with its text, which cannot be read again. `expires_at=None`: never.

        The text is dl_live_<8 characters>_<43 secret characters><6 of CRC-32>: as with GitHub's tokens, the fixed
        prefix and the checksum let secret scanners find keys that were published by mistake. A path token, for a
        service, starts with dl_path_ and has the scope `generate` alone.

        Raises ValidationError for invalid scopes, and for a service that has no path tokens.
        """
        if service:
            check_service(service)
            scopes = [Scope.GENERATE]
        prefix = (PATH_TOKEN_START if service else KEY_START) + _random(8)
        body = f"{prefix}_{_random(SECRET_CHARACTERS)}"
        text = body + _checksum(body)
        granted = list(scopes)
        check_scopes(granted)
        key = cls.objects.create(
            owner=owner,
            name=name,
            prefix=prefix,
            digest=_digest(text),
            scopes=granted,
            expires_at=expires_at,
            ends_links=ends_links,
            service=service,
        )
        return key, text

    @classmethod
    def find(cls, text: str, *, service: str = "") -> ApiKey | None:
        """Return the key with this text, including revoked and expired keys; None if there is none.

        service: that of a path token, which is none elsewhere.
        """
        if not text.startswith((KEY_START, PATH_TOKEN_START)) or _checksum(text[:-6]) != text[-6:]:
            return None
        prefix = text[: len(KEY_START) + 8]
        key = cls.objects.select_related("owner").filter(prefix=prefix, service=service).first()
        # A plain fast hash is enough for 256 random bits (ASVS 5.0, 6.5.2).
        return key if key and hmac.compare_digest(key.digest, _digest(text)) else None

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def service_label(self) -> str:
        """The name of a path token's service on pages; empty for a key."""
        label: str = settings.PATH_TOKEN_SERVICES.get(self.service, self.service)
        return label

    def touch(self) -> None:
        """Update `last_used_at`, at most once a minute. Requests that only read work while the database is locked."""
        now = timezone.now()
        if self.last_used_at is None or (now - self.last_used_at).total_seconds() > 60:
            write_unless_locked(lambda: ApiKey.objects.filter(pk=self.pk).update(last_used_at=now))

    def revoke(self) -> bool:
        """Revoke the key and close its websockets. Returns False if it was already revoked."""
        revoked = bool(ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now()))
        if revoked:
            socket_revocation.close_sockets(socket_revocation.key_group(self.pk))
        return revoked

    @property
    def is_usable(self) -> bool:
        """Whether the key is neither revoked nor expired, and its owner is active."""
        return self.revoked_at is None and not self.has_expired and self.owner.is_active

    def allows(self, scope: Scope) -> bool:
        """Return whether the key is usable and has the scope."""
        return self.is_usable and scope in self.scopes


class Ticket(models.Model):
    """Opens one websocket on behalf of a key, once and within TICKET_SECONDS, so that no key is sent in a URL."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="tickets")
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"ticket of {self.key}"

    @classmethod
    def issue(cls, key: ApiKey) -> str:
        """Create a ticket and return its text, of which only a hash is stored. Deletes expired tickets."""
        now, text = timezone.now(), _random(SECRET_CHARACTERS)
        cls.objects.filter(expires_at__lte=now).delete()
        cls.objects.create(key=key, digest=_digest(text), expires_at=now + timedelta(seconds=TICKET_SECONDS))
        return text

    @classmethod
    def redeem(cls, text: str) -> ApiKey | None:
        """Delete the ticket and return its key; None for an unknown, used or expired ticket, or a key without `read`.

        Of two concurrent calls with one ticket, only the call whose DELETE finds the row succeeds.
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
    """Return the CRC-32 as six base-62 digits."""
    number, characters = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        characters = ALPHABET[digit] + characters
    return characters
