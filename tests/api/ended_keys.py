"""The ways in which an API key ends."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from accounts.models import ApiKey, User

KEY_ENDS = ["revoked", "expired", "owner disabled", "deleted"]


def end_key(key: ApiKey, how: str) -> None:
    """how: one of KEY_ENDS."""
    match how:
        case "revoked":
            key.revoke()
        case "expired":
            ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "owner disabled":
            User.objects.update(is_active=False)
        case "deleted":
            key.delete()
