"""API key authentication, and the local user of requests without a key."""

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
    """A key was sent in the URL. URLs appear in logs, browser histories and referrers, so the key has leaked."""

    status_code = 400
    default_code = "key_in_url"
    default_detail = (
        "Do not send an API key in the URL. Send it as Authorization: Bearer <key> or X-API-Key: <key>, "
        "and revoke this one: it may be in logs by now."
    )


class ApiKeyAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer …` or `X-API-Key: …`. Sets `request.auth` to the ApiKey.

    Override `read_api_key` for an API whose key is sent elsewhere.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        refuse_key_in_url(request)
        text = self.read_api_key(request)
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

    def read_api_key(self, request: Request) -> str | None:
        return key_from_headers(request)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="DreamLayer"'


class LocalAuthentication(BaseAuthentication):
    """Authenticates requests without a key or session as the local user, with DREAMLAYER_ANONYMOUS_API. Comes last.

    A page of another origin can make a browser on this machine send such requests too. Requests that a browser sends
    for another origin are therefore refused, unless the origin is in CORS_ALLOWED_ORIGINS.
    """

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        if not settings.ANONYMOUS_API:
            return None
        # The system check examines the address that the server binds to; this examines each client's address.
        if settings.ANONYMOUS_API != "force" and not is_from_loopback(request):
            return None
        if not is_same_origin(request):
            raise PermissionDenied("Pages of another origin need an API key.", code="csrf")
        user = User.objects.get_local_user()
        # A person who can sign in as the local user could read the generations of all anonymous requests.
        return None if user.has_usable_password() or not user.is_active else (user, None)


def key_from_headers(request: Request) -> str | None:
    """Return the API key of a request, or None. Authorization headers of other schemes are ignored."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.headers.get("X-API-Key")


def refuse_key_in_url(request: Request) -> None:
    """Raise KeyInUrl if the value of any query parameter starts like an API key."""
    for _, values in request.query_params.lists():
        for value in values:
            if value.startswith(KEY_START):
                logger.warning("The API key %r… was sent in a URL; revoke it.", value[: len(KEY_START) + 8])
                raise KeyInUrl


def is_from_loopback(request: Request) -> bool:
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a Unix socket has no address; its client is a proxy
        return False


def is_same_origin(request: Request) -> bool:
    """Return True for programs, for pages of this site, and for pages of CORS_ALLOWED_ORIGINS.

    Browsers send Origin with every POST and Sec-Fetch-Site with every request, and pages cannot set either (Fetch
    standard, section 3.2; Fetch Metadata). Programs send neither.
    """
    origin = request.headers.get("Origin")
    if origin in settings.CORS_ALLOWED_ORIGINS:
        return True
    own = f"{request.scheme}://{request.get_host()}"
    return origin in (None, own) and request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
