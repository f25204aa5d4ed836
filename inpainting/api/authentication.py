"""API key authentication for all dialects, which differ in where the request contains the key."""

from __future__ import annotations

from rest_framework.request import Request

from accounts.authentication import ApiKeyAuthentication
from inpainting.api.dialects import dialect_at


class DialectKeyAuthentication(ApiKeyAuthentication):
    """Reads the API key with the dialect of the request's path: from a header, or from the body."""

    def read_api_key(self, request: Request) -> str | None:
        dialect = dialect_at(request.path)
        return super().read_api_key(request) if dialect is None else dialect.read_api_key(request)
