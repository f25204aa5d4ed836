"""What the account page shows of a user's sign-in: second factors, sessions and API keys."""

from __future__ import annotations

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Count

from accounts.models import User


@dataclass(frozen=True, slots=True)
class Overview:
    """passkeys: passkeys and security keys. keys: API keys that are not revoked; expired ones count."""

    has_totp: bool
    passkeys: int
    sessions: int
    keys: int

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
