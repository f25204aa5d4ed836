"""Origin check of websockets: pages of this host and port, and of CSRF_TRUSTED_ORIGINS, may open them.

Programs send no Origin header; they authenticate with a ticket.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings

from accounts.websocket_auth import ticket_in_url


class SameOriginMiddleware:
    """ASGI middleware that compares the Origin header with the Host header, port included.

    The port matters because browsers send cookies to all ports of a host.
    session_application: serves pages of this site by their session.
    ticket_application: serves pages and programs that have a ticket in the URL.
    """

    def __init__(self, *, session_application: Any, ticket_application: Any) -> None:
        self.session_application = session_application
        self.ticket_application = ticket_application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        trusted = is_same_host(origin, host) or origin in settings.CSRF_TRUSTED_ORIGINS
        has_ticket = ticket_in_url(scope) is not None
        application = WebsocketDenier()
        if has_ticket and (trusted or b"origin" not in headers):
            application = self.ticket_application
        elif trusted:
            application = self.session_application
        return await application(scope, receive, send)


def is_same_host(origin: str, host: str) -> bool:
    """Return whether an origin has this host and port. False for an origin that is no valid URL."""
    try:
        url = urlsplit(origin)
        url.port  # noqa: B018 - raises ValueError for an invalid port, which Channels' validator does not catch
    except ValueError:
        return False
    return bool(host) and url.netloc.lower() == host.lower()
