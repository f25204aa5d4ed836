"""API key authentication for all dialects, which differ in where the request contains the key."""

from __future__ import annotations

from django.utils import translation
from rest_framework.request import Request

from accounts.authentication import ApiKeyAuthentication
from accounts.models import ApiKey, User
from inpainting.api.dialects import dialect_at


class DialectKeyAuthentication(ApiKeyAuthentication):
    """Reads the API key with the dialect of the request's path: from a header, or from the body."""

    def read_api_key(self, request: Request) -> str | None:
        dialect = dialect_at(request.path)
        return super().read_api_key(request) if dialect is None else dialect.read_api_key(request)

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Authenticate the request, whose response has the language of the account; English in compatible APIs."""
        found = super().authenticate(request)
        dialect = dialect_at(request.path)
        if found and dialect and dialect.is_translated and (language := found[0].chosen_language):
            translation.activate(language)
        return found
