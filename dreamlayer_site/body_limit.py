"""Refuses a request's body that is too large, whatever server is in front.

`serve` refuses earlier, in dreamlayer_site/daphne_server.py, before the body is there at all.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def refusal(max_bytes: int) -> Message:
    """The answer, in the native API's shape."""
    return {
        "status": "error",
        "message": f"The request is too large; at most {max_bytes} bytes are allowed.",
        "code": "body_too_large",
        "limit": max_bytes,
    }


def cors_headers(origin: str) -> dict[str, str]:
    """What lets a page of another origin read the refusal, where the API may be called from there."""
    if origin not in settings.CORS_ALLOWED_ORIGINS:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


class BodyTooLarge(Exception):
    pass


class BodyLimitMiddleware:
    """An ASGI wrapper: answers 413 in the native API's shape instead of letting the application read on."""

    def __init__(self, application: Application, *, max_bytes: int) -> None:
        self.application = application
        self.max_bytes = max_bytes

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"])
        length, origin = asked.get(b"content-length", b"0"), asked.get(b"origin", b"").decode("latin-1")
        if not length.isdigit() or int(length) > self.max_bytes:
            await self.refuse(send, origin)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise BodyTooLarge
            return message

        try:
            await self.application(scope, counted, send)
        except BodyTooLarge:
            await self.refuse(send, origin)

    async def refuse(self, send: Send, origin: str) -> None:
        body = refusal(self.max_bytes)
        said = {"Content-Type": "application/json", "Connection": "close", **cors_headers(origin)}
        headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})
