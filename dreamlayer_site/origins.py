"""Which pages may open a websocket: those of this very address, port included, and those the settings trust.

Programs name no origin; they come with a ticket.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings

from accounts.sockets import ticket_in


class SameOriginOnly:
    """An ASGI wrapper. A browser says where a page is from; a page of another port would still bring our cookies.

    by_session: who takes pages that may. by_ticket: who takes whoever brings a ticket, page or program, and looks at
    that alone.
    """

    def __init__(self, *, by_session: Any, by_ticket: Any) -> None:
        self.by_session = by_session
        self.by_ticket = by_ticket

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        ours = is_of(origin, host) or origin in settings.CSRF_TRUSTED_ORIGINS
        has_ticket = ticket_in(scope) is not None
        application = WebsocketDenier()
        if has_ticket and (ours or b"origin" not in headers):
            application = self.by_ticket
        elif ours:
            application = self.by_session
        return await application(scope, receive, send)


def is_of(origin: str, host: str) -> bool:
    """Whether a page of that origin is of that host. An origin that is no address is of none."""
    try:
        address = urlsplit(origin)
        address.port  # noqa: B018 - raises ValueError for what is no port, at which those after us would stumble
    except ValueError:
        return False
    return bool(host) and address.netloc.lower() == host.lower()
