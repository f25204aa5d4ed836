"""API key authentication, and the local user of requests without a key."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterable
from ipaddress import ip_address
from itertools import chain

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from accounts.models import KEY_START, ApiKey, User
from accounts.path_tokens import path_token

logger = logging.getLogger(__name__)


class KeyInUrl(APIException):
    """A key was sent in the URL. URLs appear in logs, browser histories and referrers, so the key has leaked."""

    status_code = 400
    default_code = "key_in_url"
    default_detail = gettext_lazy(
        "Do not send an API key in the URL. Send it as Authorization: Bearer <key> or X-API-Key: <key>, "
        "and revoke this one: it may be in logs by now."
    )


class ApiKeyAuthentication(BaseAuthentication):
    """Reads the token in the path, `Authorization: Bearer …` or `X-API-Key: …`. Sets `request.auth` to the ApiKey.

    Override `read_api_key` for an API whose key is sent elsewhere.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        refuse_key_in_url(request)
        token = path_token(request)
        text, service = (self.read_api_key(request), "") if token is None else (token.text, token.service)
        if text is None:
            return None
        key = ApiKey.find(text, service=service)
        if key is None or not key.owner.is_active:
            invalid = gettext("This API key is not valid.")
            if token is not None:
                invalid = gettext("This path token is not valid for this service.")
            raise AuthenticationFailed(invalid, code="key_invalid")
        if key.revoked_at is not None:
            raise AuthenticationFailed(gettext("This API key was revoked."), code="key_revoked")
        if key.has_expired:
            raise AuthenticationFailed(gettext("This API key has expired."), code="key_expired")
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
            raise PermissionDenied(gettext("Pages of another origin need an API key."), code="csrf")
        user = User.objects.get_local_user()
        # A person who can sign in as the local user could read the generations of all anonymous requests.
        return None if user.has_usable_password() or not user.is_active else (user, None)


class OwnPageAuthentication(SessionAuthentication):
    """The session of a page of this site whose requests have no CSRF token, such as a web app of another service.

    The browser vouches for the page instead: it names the origin in every request that changes something, and where it
    says how the page and this site are related, they have to be the same. Origins of DREAMLAYER_CORS_ORIGINS are
    others.
    """

    def enforce_csrf(self, request: Request) -> None:
        """Raise PermissionDenied unless the browser sends the request for a page of this site."""
        origin = request.headers.get("Origin")
        allowed = {own_origin(request), *settings.CSRF_TRUSTED_ORIGINS}
        if request.method in ("GET", "HEAD", "OPTIONS"):
            allowed.add(None)
        if origin not in allowed or not is_own_by_browser(request):
            raise PermissionDenied(gettext("Pages of another origin need an API key."), code="csrf")


def key_from_headers(request: Request | HttpRequest) -> str | None:
    """Return the API key of a request, or None. Authorization headers of other schemes are ignored.

    A key may also be the password of HTTP Basic (RFC 7617), with any user name, for clients that have no other place
    for one. Other passwords are ignored: they may be those of a proxy in front of the site.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic" if (password := basic_password(credentials)).startswith(KEY_START):
            return password
    return request.headers.get("X-API-Key")


def basic_password(credentials: str) -> str:
    """Return the password of the credentials of HTTP Basic; empty where they cannot be read."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):  # ValueError: not UTF-8
        return ""


def refuse_key_in_url(request: Request) -> None:
    """Raise KeyInUrl if a part of the path or the value of any query parameter starts like an API key."""
    refuse_key_in_path(request)
    refuse_keys(chain.from_iterable(values for _, values in request.query_params.lists()))


def refuse_key_in_path(request: Request | HttpRequest) -> None:
    """Raise KeyInUrl if a part of the path, or what is sent as a path token, starts like an API key."""
    token = path_token(request)
    refuse_keys(f"{token.prefix if token else ''}{request.path}".split("/"))


def refuse_keys(texts: Iterable[str]) -> None:
    """Raise KeyInUrl if any of these parts of a URL starts like an API key."""
    for text in texts:
        if text.startswith(KEY_START):
            logger.warning("The API key %r… was sent in a URL; revoke it.", text[: len(KEY_START) + 8])
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
    return origin in (None, own_origin(request)) and is_own_by_browser(request)


def is_own_by_browser(request: Request) -> bool:
    """Return whether the browser does not say that a page of another site sends the request (Fetch Metadata)."""
    return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")


def own_origin(request: Request) -> str:
    return f"{request.scheme}://{request.get_host()}"
