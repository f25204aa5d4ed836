"""Second factors for tests: an authenticator app and its codes, recovery codes, signing in and confirming with them."""

from __future__ import annotations

import time
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.core.cache import cache
from django.test import Client

from accounts.models import User

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PERIOD_SECONDS = 30


def code_of_app(secret: str = SECRET, *, periods: int = 0) -> str:
    """The code that an app shows now, or so many periods later (RFC 6238)."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // PERIOD_SECONDS + periods)))


def add_app(user: User) -> Authenticator:
    authenticator: Authenticator = TOTP.activate(user, SECRET).instance
    return authenticator


def recovery_codes(user: User) -> list[str]:
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def enter_password(client: Client, user: User, password: str) -> Any:
    return client.post("/accounts/login/", {"login": user.email, "password": password})


def confirm(client: Client) -> Client:
    """Enter alice's password again, as pages ask for before what concerns the account."""
    cache.clear()  # its limit is per account, whose primary key the tests share
    assert client.post("/accounts/reauthenticate/", {"password": "correct horse"}).status_code == 302
    return client


def enter_code(client: Client, code: str) -> Any:
    return client.post("/accounts/2fa/authenticate/", {"code": code})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session
