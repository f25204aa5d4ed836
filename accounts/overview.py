"""A user's addresses, second factors, sessions and API keys, for the account page and the export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Count

from accounts.models import AuditEntry, User


@dataclass(frozen=True, slots=True)
class Overview:
    """What an account is secured by, and who is signed in to it."""

    has_totp: bool
    passkeys: int  # passkeys and security keys
    sessions: int
    keys: int  # API keys that are not revoked; expired ones count

    @property
    def has_second_factor(self) -> bool:
        return self.has_totp or self.passkeys > 0


def overview(user: User) -> Overview:
    counted = Authenticator.objects.filter(user=user).values_list("type").annotate(Count("pk"))
    factors: dict[str, int] = dict(counted)
    return Overview(
        has_totp=Authenticator.Type.TOTP in factors,
        passkeys=factors.get(Authenticator.Type.WEBAUTHN, 0),
        sessions=len(UserSession.objects.purge_and_list(user)),
        keys=user.api_keys.filter(revoked_at=None).count(),
    )


def account_record(user: User) -> dict[str, Any]:
    """Return a user's account for the export, without secrets and without times that change with every sign-in.

    Of the audit log, what was done with the user's data and when, without the names and notes of administrators.
    """
    addresses = EmailAddress.objects.filter(user=user).order_by("pk")
    factors = Authenticator.objects.filter(user=user).order_by("pk")
    sessions = UserSession.objects.filter(user=user).order_by("pk")
    entries = AuditEntry.objects.filter(subject=user.pk).order_by("pk")
    return {
        "email": user.email,
        "joined": user.date_joined,
        "addresses": list(addresses.values("email", "verified", "primary")),
        "second_factors": list(factors.values("type", "created_at")),
        "api_keys": list(
            user.api_keys.order_by("pk").values("name", "prefix", "scopes", "service", "created_at", "expires_at")
        ),
        "sessions": list(sessions.values("ip", "user_agent", "created_at")),
        "audit_log": [{"at": entry.at, "action": str(entry)} for entry in entries],
    }
