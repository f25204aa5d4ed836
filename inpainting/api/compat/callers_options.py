"""What the callers of a service have chosen, where its protocol keeps choices on the server: each API key its own."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from accounts.models import ApiKey
from inpainting.models import ServiceOptions


def key_prefix(request: Request) -> str:
    """Return what identifies the caller's key beside the user; empty for pages and for requests without a key."""
    return request.auth.prefix if isinstance(request.auth, ApiKey) else ""


def read_options(request: Request, service: str) -> dict[str, Any]:
    """Return what the caller has chosen; empty without."""
    return ServiceOptions.of(request.user, key_prefix(request), service)


def update_options(request: Request, service: str, chosen: dict[str, Any]) -> None:
    """Keep these choices of the caller, beside the others."""
    stored = {**read_options(request, service), **chosen}
    ServiceOptions.store(request.user, key_prefix(request), service, stored)
