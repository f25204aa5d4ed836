"""Requests with images take turns; responses that wait for a result or stream events do so here, without threads.

A thread for each of a thousand uploads would take gigabytes and slow down all other requests.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse

from dreamlayer_site.server.body_limit import Message, Receive, Send, takes_images
from dreamlayer_site.server.refusals import refusal
from dreamlayer_site.server.request_threads import request_threads
from inpainting.api.dialects import dialect_at
from inpainting.api.errors import Busy, api_error
from inpainting.api.later_response import ARRIVED, DISCONNECTED, LATER, EventStream, LaterResponse
from inpainting.worker.waiters import wait_until_ended

Scope = dict[str, Any]

SMALL_BYTES = 8 * 1024
"""Bodies up to this size have no image, or its URL, whose download takes up to 15 seconds."""
LARGE_AT_ONCE, SMALL_AT_ONCE = max(4, os.cpu_count() or 1), 64
"""How many requests with larger and with smaller bodies are read, checked and stored at once."""


class LaterResponseMiddleware:
    """Around Django's handler: calls it when it is the request's turn, and sends the later response of its view."""

    def __init__(self, handler: ASGIHandler) -> None:
        self.handler = handler
        self.large, self.small = asyncio.Semaphore(LARGE_AT_ONCE), asyncio.Semaphore(SMALL_AT_ONCE)

    def turn(self, scope: Scope) -> AbstractAsyncContextManager[object]:
        """Wait while too many requests with images are read. Others, such as pages, do not wait."""
        if scope["method"] != "POST" or not takes_images(scope["path"]):
            return nullcontext()
        length = dict(scope["headers"]).get(b"content-length", b"")
        return self.small if length.isdigit() and int(length) <= SMALL_BYTES else self.large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found: list[LaterResponse | EventStream] = []
        disconnected = threading.Event()  # views ask for it in their threads
        handled = {**scope, LATER: found, ARRIVED: time.monotonic(), DISCONNECTED: disconnected}
        headers: list[tuple[bytes, bytes]] = []

        async def noting_receive() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                disconnected.set()
            return message

        async def withholding_send(message: Message) -> None:
            if not found:
                await send(message)
            elif message["type"] == "http.response.start":
                headers.extend(message["headers"])

        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(max_turn_seconds(scope)):
                    await turn.enter_async_context(self.turn(scope))
            except TimeoutError:
                await self.handler.send_response(busy(scope), send)
                return
            with request_threads.use_thread():
                await self.handler(handled, noting_receive, withholding_send)
        if not found:
            return
        later = found[0]
        if disconnected.is_set():
            await self.abandon(later)
            return
        if isinstance(later, EventStream):
            await finish_unless_disconnected(send_events(later, headers, send), receive)
            return
        wait = wait_until_ended(later.pk, patience_seconds=later.max_wait_seconds)
        if await finish_unless_disconnected(wait, receive):
            await self.respond(later, headers, send)
        else:
            await self.abandon(later)

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

        with request_threads.use_thread():
            response = await sync_to_async(later.render)()
            if isinstance(response, HttpResponse):
                response.headers["Content-Length"] = str(len(response.content))
            try:
                await self.handler.send_response(response, send_with_headers)
            finally:
                await sync_to_async(response.close)()

    async def abandon(self, later: LaterResponse | EventStream) -> None:
        """Let what nobody waits for any more be cancelled."""
        if isinstance(later, LaterResponse) and later.on_disconnect is not None:
            with request_threads.use_thread():
                await sync_to_async(later.on_disconnect)()


def max_turn_seconds(scope: Scope) -> float | None:
    """Return how long a request may wait for its turn; None: without a limit."""
    dialect = dialect_at(scope["path"])
    return None if dialect is None else dialect.max_accept_seconds(scope["path"])


def busy(scope: Scope) -> HttpResponse:
    origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
    return refusal(api_error(Busy()), scope["path"], origin=origin)


async def send_events(stream: EventStream, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    """Send the events with these headers, of the view and Django's middleware, as they happen."""
    headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for chunk in stream.events:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def finish_unless_disconnected(work: Coroutine[Any, Any, object], receive: Receive) -> bool:
    """Return True when the work is finished; False, with the work cancelled, when the client has disconnected."""
    working = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(receive())  # After the body, there is no other message.
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if disconnect.done():
            return False
        working.result()  # raises what the work raised
        return True
    finally:
        working.cancel()
        disconnect.cancel()
        await asyncio.wait({working})
