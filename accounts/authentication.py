"""Which header carries a program's key, and whose it is; and who asks without a key, where that is allowed."""

from __future__ import annotations

import logging
from ipaddress import ip_address

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from accounts.models import KEY_START, ApiKey, User

logger = logging.getLogger(__name__)


class KeyInUrl(APIException):
    """Addresses stand in logs, histories and referrers: a key that was sent in one is no secret any more."""

    status_code = 400
    default_code = "key_in_url"
    default_detail = (
        "An API key does not belong into an address. Send it as Authorization: Bearer <key> or X-API-Key: <key>, "
        "and revoke this one: it may stand in logs by now."
    )


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` or `X-API-Key: …`. `request.auth` is the ApiKey."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        refuse_key_in_url(request)
        text = key_in(request)
        if text is None:
            return None
        key = ApiKey.find(text)
        if key is None or not key.owner.is_active:
            raise AuthenticationFailed("This API key is not valid.", code="key_invalid")
        if key.revoked_at is not None:
            raise AuthenticationFailed("This API key was revoked.", code="key_revoked")
        if key.has_expired:
            raise AuthenticationFailed("This API key has expired.", code="key_expired")
        key.touch()
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="DreamLayer"'


class LocalAuthentication(BaseAuthentication):
    """With DREAMLAYER_ANONYMOUS_API: who sends no key and has not signed in is the local user. Comes last.

    A page of another origin can make a browser on this machine ask too, without a key and unseen; so what a browser
    sends for another origin's page is refused, unless that origin is one of CORS_ALLOWED_ORIGINS.
    """

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        if not settings.ANONYMOUS_API:
            return None
        # Not only what the server was told to bind to: also whom it really talks to.
        if settings.ANONYMOUS_API != "force" and not comes_from_this_machine(request):
            return None
        if not is_from_here(request):
            raise PermissionDenied("A page of another origin may not ask without a key.", code="csrf")
        user = User.objects.local()
        # Somebody who can sign in as the local user would read what everybody else paints.
        return None if user.has_usable_password() or not user.is_active else (user, None)


def key_in(request: Request) -> str | None:
    """The key that a request carries, or None. An Authorization header of another kind is not ours."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    return request.headers.get("X-API-Key")


def refuse_key_in_url(request: Request) -> None:
    """Raises KeyInUrl where any parameter of the address, whatever its name, begins as our keys do."""
    for _, values in request.query_params.lists():
        for value in values:
            if value.startswith(KEY_START):
                logger.warning("The key %r… came in an address; revoke it.", value[: len(KEY_START) + 8])
                raise KeyInUrl


def comes_from_this_machine(request: Request) -> bool:
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a Unix socket has no address, and whoever is behind it is a proxy
        return False


def is_from_here(request: Request) -> bool:
    """True for programs, for our own pages, and for pages of the origins that CORS lets in.

    Browsers send Origin with every POST, and Sec-Fetch-Site with everything (Fetch standard, section 3.2; Fetch
    Metadata): neither can be set by a page. Programs send neither.
    """
    origin = request.headers.get("Origin")
    if origin in settings.CORS_ALLOWED_ORIGINS:
        return True
    own = f"{request.scheme}://{request.get_host()}"
    return origin in (None, own) and request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
