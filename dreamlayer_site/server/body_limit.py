"""Refuses request bodies that are too large, under any ASGI server.

`serve` refuses earlier, in dreamlayer_site/server/daphne_server.py, before the body has arrived.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.urls import Resolver404, resolve

from dreamlayer_site.server.refusals import refusal
from inpainting.api.errors import NOT_FOUND, ApiError, body_too_large

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
FILE_TYPES = ("multipart/form-data", "image/", "application/octet-stream")
"""The beginnings of media types whose bodies are written to disk instead of being parsed in memory."""
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def view_at(path: str) -> Callable[..., Any] | None:
    try:
        return resolve(path).func
    except Resolver404:
        return None


def takes_images(path: str) -> bool:
    """Return whether the view at this path reads images from a request's body."""
    return getattr(getattr(view_at(path), "cls", None), "takes_images", False)


def max_body_bytes(path: str, content_type: str = "") -> int:
    """Return the largest body of this media type that the view at this path reads."""
    if not takes_images(path):
        return settings.MAX_BODY_BYTES_WITHOUT_IMAGES
    has_files = content_type.strip().lower().startswith(FILE_TYPES)
    return settings.MAX_FILE_BODY_BYTES if has_files else settings.MAX_BODY_BYTES


def excess_error(path: str, max_bytes: int) -> ApiError:
    """Return the error for a body of more bytes: that there is nothing at a path without a view, where a smaller image
    would not help."""
    return NOT_FOUND if view_at(path) is None else body_too_large(max_bytes)


class BodyTooLarge(Exception):
    pass


class BodyLimitMiddleware:
    """An ASGI middleware: responds with 413 instead of letting the application read on."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        max_bytes = max_body_bytes(scope["path"], headers.get(b"content-type", b"").decode("latin-1"))
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > max_bytes:
            await self.refuse(scope, send, max_bytes)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise BodyTooLarge
            return message

        try:
            await self.application(scope, limited_receive, send)
        except BodyTooLarge:
            await self.refuse(scope, send, max_bytes)

    async def refuse(self, scope: dict[str, Any], send: Send, max_bytes: int) -> None:
        origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
        response = refusal(excess_error(scope["path"], max_bytes), scope["path"], origin=origin)
        headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})
