"""Creation of the first administrator, through a signed link that `serve` prints while there is no administrator."""

from __future__ import annotations

from django.core import signing
from django.db import transaction

from accounts.models import User

SALT = "dreamlayer.first-administrator"
LINK_SECONDS = 24 * 3600


def is_missing() -> bool:
    return not User.objects.filter(is_superuser=True).exists()


def make_token() -> str:
    return signing.dumps("setup", salt=SALT)


def is_valid(token: str) -> bool:
    """Return True for an unaltered token less than a day old, while there is no administrator."""
    try:
        signing.loads(token, salt=SALT, max_age=LINK_SECONDS)
    except signing.BadSignature:
        return False
    return is_missing()


def create(email: str, password: str) -> User | None:
    """Create the administrator. Returns None if another request created one first."""
    with transaction.atomic(durable=True):
        if not is_missing():
            return None
        return User.objects.create_superuser(email, password)
