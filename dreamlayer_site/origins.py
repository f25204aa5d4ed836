"""Which pages may open a websocket: those of this very address, port included, and those the settings trust."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings


class SameOriginOnly:
    """An ASGI wrapper. A browser says where a page is from; a page of another port would still bring our cookies."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        ours = bool(host) and urlsplit(origin).netloc.lower() == host.lower()
        application = self.application if ours or origin in settings.CSRF_TRUSTED_ORIGINS else WebsocketDenier()
        return await application(scope, receive, send)
