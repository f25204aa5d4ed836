"""Which header carries a program's key, and whose it is."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey, User


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` or `X-API-Key: …`. `request.auth` is the ApiKey."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        text = key_in(request)
        if text is None:
            return None
        key = ApiKey.find(text)
        if key is None or not key.owner.is_active:
            raise AuthenticationFailed("This API key is not valid.", code="key_invalid")
        if key.revoked_at is not None:
            raise AuthenticationFailed("This API key was revoked.", code="key_revoked")
        key.touch()
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="DreamLayer"'


def key_in(request: Request) -> str | None:
    """The key that a request carries, or None. An Authorization header of another kind is not ours."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    return request.headers.get("X-API-Key")
