"""The first administrator: a signed link, printed where the server starts, that works while there is none."""

from __future__ import annotations

from django.core import signing
from django.db import transaction

from accounts.models import User

SALT = "dreamlayer.first-administrator"
LINK_SECONDS = 24 * 3600


def needed() -> bool:
    return not User.objects.filter(is_superuser=True).exists()


def make_token() -> str:
    return signing.dumps("setup", salt=SALT)


def is_valid(token: str) -> bool:
    """True for an unaltered link, younger than a day, while there is no administrator."""
    try:
        signing.loads(token, salt=SALT, max_age=LINK_SECONDS)
    except signing.BadSignature:
        return False
    return needed()


def make_first_administrator(email: str, password: str) -> User | None:
    """The administrator, or None where somebody else was first."""
    with transaction.atomic(durable=True):
        if not needed():
            return None
        return User.objects.create_superuser(email, password)
