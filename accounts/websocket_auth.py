"""Authentication of websockets: pages by their session, programs by a one-time ticket."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.security.websocket import WebsocketDenier
from django.conf import settings

from accounts import socket_revocation
from accounts.models import ApiKey, Scope, Ticket

WebsocketScope = dict[str, Any]
"""The ASGI scope of a websocket connection."""


def ticket_in_url(scope: WebsocketScope) -> str | None:
    """Return the `ticket` query parameter, or None."""
    return parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [None])[0]


class TicketAuthMiddleware:
    """ASGI middleware: redeem the ticket and set `scope["user"]` and `scope["key"]`; answer 403 to a bad ticket."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: WebsocketScope, receive: Any, send: Any) -> Any:
        key = await database_sync_to_async(Ticket.redeem)(ticket_in_url(scope) or "")
        if key is None:
            return await WebsocketDenier()(scope, receive, send)
        return await self.application({**scope, "user": key.owner, "key": key}, receive, send)


def revocation_group(scope: WebsocketScope) -> str:
    """Return the channel group that receives `access.revoked` when the socket's key or session ends."""
    if "key" in scope:
        return socket_revocation.key_group(scope["key"].pk)
    return socket_revocation.session_group(scope["session"].session_key)


async def is_still_authorized(scope: WebsocketScope) -> bool:
    """Return whether the key still works, or the session still belongs to the same user with the same password."""
    if "key" in scope:
        return await database_sync_to_async(_allows_reading)(scope["key"].pk)
    store = import_module(settings.SESSION_ENGINE).SessionStore(scope["session"].session_key)
    return bool(await get_user({"session": store}) == scope["user"])


def _allows_reading(pk: int) -> bool:
    key = ApiKey.objects.select_related("owner").filter(pk=pk).first()
    return key is not None and key.allows(Scope.READ)
