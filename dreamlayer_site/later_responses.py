"""Requests with pictures take turns, and responses that wait for a result wait here, without a thread for each.

A thread for each of a thousand uploads would take gigabytes and slow down all other requests.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse

from dreamlayer_site.body_limit import Message, Receive, Send, takes_pictures
from inpainting.api.later_response import LATER, LaterResponse
from inpainting.worker.waiting import wait_until_ended

Scope = dict[str, Any]

SMALL_BYTES = 8 * 1024
"""Bodies up to this size have no picture, or its URL, whose download takes up to 15 seconds."""
LARGE_AT_ONCE, SMALL_AT_ONCE = max(4, os.cpu_count() or 1), 64
"""How many requests with larger and with smaller bodies are read, checked and stored at once."""


class LaterResponseMiddleware:
    """Around Django's handler: calls it when it is the request's turn, and sends the LaterResponse of its view."""

    def __init__(self, handler: ASGIHandler) -> None:
        self.handler = handler
        self.large, self.small = asyncio.Semaphore(LARGE_AT_ONCE), asyncio.Semaphore(SMALL_AT_ONCE)

    def turn(self, scope: Scope) -> AbstractAsyncContextManager[object]:
        """Wait while too many requests with pictures are read. Others, such as pages, do not wait."""
        if scope["method"] != "POST" or not takes_pictures(scope["path"]):
            return nullcontext()
        length = dict(scope["headers"]).get(b"content-length", b"")
        return self.small if length.isdigit() and int(length) <= SMALL_BYTES else self.large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found: list[LaterResponse] = []
        headers: list[tuple[bytes, bytes]] = []
        has_disconnected = False

        async def noting_receive() -> Message:
            nonlocal has_disconnected
            message = await receive()
            has_disconnected = has_disconnected or message["type"] == "http.disconnect"
            return message

        async def withholding_send(message: Message) -> None:
            if not found:
                await send(message)
            elif message["type"] == "http.response.start":
                headers.extend(message["headers"])

        async with self.turn(scope):
            await self.handler({**scope, LATER: found}, noting_receive, withholding_send)
        if found and not has_disconnected and await wait_unless_disconnected(found[0], receive):
            await self.respond(found[0], headers, send)

    async def respond(self, later: LaterResponse, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        """Send the response with these headers, of Django's middleware, besides its own."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message = {
                    **message,
                    "headers": [*message["headers"], *(pair for pair in headers if pair[0].lower() not in own)],
                }
            await send(message)

        async with ThreadSensitiveContext():
            response = await sync_to_async(later.render)()
            if isinstance(response, HttpResponse):
                response.headers["Content-Length"] = str(len(response.content))
            try:
                await self.handler.send_response(response, send_with_headers)
            finally:
                await sync_to_async(response.close)()


async def wait_unless_disconnected(later: LaterResponse, receive: Receive) -> bool:
    """Return True when the response is to be rendered, False when the client has disconnected."""
    wait = asyncio.ensure_future(wait_until_ended(later.pk, patience_seconds=later.max_wait_seconds))
    disconnect = asyncio.ensure_future(receive())  # After the body, there is no other message.
    try:
        await asyncio.wait({wait, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        return not disconnect.done()
    finally:
        wait.cancel()
        disconnect.cancel()
