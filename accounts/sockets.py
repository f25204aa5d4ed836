"""Who is at the other end of a websocket: a page by its session, a program by a ticket; and whether they may stay."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.security.websocket import WebsocketDenier
from django.conf import settings

from accounts import live
from accounts.models import ApiKey, Scope, Ticket

Connection = dict[str, Any]
"""An ASGI scope of a websocket."""


def ticket_in(connection: Connection) -> str | None:
    """The ticket in the address, or None."""
    return parse_qs(connection["query_string"].decode("latin-1")).get("ticket", [None])[0]


class TicketAuth:
    """An ASGI wrapper: lets in who brings a good ticket, as the owner of its key. Others are refused with 403."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Connection, receive: Any, send: Any) -> Any:
        key = await database_sync_to_async(Ticket.redeem)(ticket_in(scope) or "")
        if key is None:
            return await WebsocketDenier()(scope, receive, send)
        return await self.application({**scope, "user": key.owner, "key": key}, receive, send)


def group_of(connection: Connection) -> str:
    """Who listens there hears when what let this one in has ended."""
    if "key" in connection:
        return live.group_of_key(connection["key"].pk)
    return live.group_of_session(connection["session"].session_key)


async def may_stay(connection: Connection) -> bool:
    """Whether what let it in still would: a key that works, or a session of the same user with the same password."""
    if "key" in connection:
        return await database_sync_to_async(_works)(connection["key"].pk)
    store = import_module(settings.SESSION_ENGINE).SessionStore(connection["session"].session_key)
    return bool(await get_user({"session": store}) == connection["user"])


def _works(pk: int) -> bool:
    key = ApiKey.objects.select_related("owner").filter(pk=pk).first()
    return key is not None and key.allows(Scope.READ)
