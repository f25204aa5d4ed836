"""Authentication by API key, which each dialect sends in its own place."""

from __future__ import annotations

from rest_framework.request import Request

from accounts.authentication import ApiKeyAuthentication
from inpainting.api.dialects import dialect_at


class DialectKeyAuthentication(ApiKeyAuthentication):
    """An API key where the dialect of the path sends it: in a header, or in the body."""

    def key_of(self, request: Request) -> str | None:
        dialect = dialect_at(request.path)
        return super().key_of(request) if dialect is None else dialect.key_of(request)
