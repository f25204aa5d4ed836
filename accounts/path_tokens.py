"""Path tokens: `/t/TOKEN` before the paths of one service, for those of its clients that have no place for an API key.

Such an address is a capability URL (W3C, Good Practices for Capability URLs): whoever has it may use it. A token
therefore only paints, in one service, and the address does not appear in what the site writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from rest_framework.request import Request

from accounts.audit import Action
from accounts.models import ApiKey, AuditEntry, User

SCOPE_ENTRY = "dreamlayer.path_token"
"""The key of the ASGI scope that holds the PathToken of a request, whose path is without it."""


@dataclass(frozen=True, slots=True)
class PathToken:
    """A token as it was sent."""

    text: str
    service: str
    """Whose path followed the token; empty for a path that no token opens."""

    @property
    def prefix(self) -> str:
        """The beginning of the paths that the token opens."""
        return path_prefix(self.text)


def path_prefix(text: str) -> str:
    """Return the beginning of the paths that a token with this text opens."""
    return f"/t/{text}"


def path_token(request: Request | HttpRequest) -> PathToken | None:
    scope = getattr(request, "scope", {})  # requests of WSGI have none
    token: PathToken | None = scope.get(SCOPE_ENTRY)
    return token


def record_path_token(actor: User | None, action: Action, key: ApiKey) -> None:
    """Add an entry to the audit log if the key is a path token, which may end up in logs of other programs.

    actor: None for a command. Call it in the transaction of the change.
    """
    if key.service:
        AuditEntry.record(actor, action, key, subject=key.owner_id, after={"service": key.service})
