"""Responses that wait for a generation or stream its events, without a thread for each.

The view returns at once; `dreamlayer_site.server.later_responses` waits and then sends the response. Where it is not
used, as in Django's test client, the view waits itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.worker.waiters import wait_until_ended

LATER = "dreamlayer.later_responses"
"""The key of the ASGI scope that holds the list for the LaterResponse or EventStream of the request."""

ARRIVED = "dreamlayer.arrived"
"""The key of the ASGI scope for the time, on the monotonic clock, at which the whole request had arrived."""


DISCONNECTED = "dreamlayer.disconnected"
"""The key of the ASGI scope for a `threading.Event` that is set once the client has disconnected."""


@dataclass(frozen=True, slots=True)
class LaterResponse:
    pk: UUID
    """The generation or analysis to wait for."""
    max_wait_seconds: float | None
    render: Callable[[], HttpResponseBase]
    """Called in a thread, once it has ended or the time has passed."""
    on_disconnect: Callable[[], object] | None = None
    """Called in a thread instead, where the client has disconnected."""


@dataclass(frozen=True, slots=True)
class EventStream:
    """Server-sent events (WHATWG HTML, section 9.2)."""

    events: AsyncIterator[bytes]
    """Cancelled when the client disconnects."""


def arrival_time(request: Request) -> float:
    """Return when the request arrived, before it waited for its turn; without the middleware: now. On the monotonic
    clock."""
    arrived: float = getattr(request, "scope", {}).get(ARRIVED, time.monotonic())
    return arrived


def has_disconnected(request: Request) -> bool:
    """Return whether the client has left, so that nobody reads the response. Without the middleware it never has."""
    disconnected = getattr(request, "scope", {}).get(DISCONNECTED)
    return disconnected is not None and disconnected.is_set()


def respond_later(later: LaterResponse, request: Request) -> HttpResponseBase:
    """Leave the response to the middleware, which adds the headers of the returned one; without it, wait here."""
    found = getattr(request, "scope", {}).get(LATER)
    if found is not None:
        found.append(later)
        return HttpResponse()
    async_to_sync(wait_until_ended)(later.pk, patience_seconds=later.max_wait_seconds)
    return later.render()


def stream_later(events: AsyncIterator[bytes], request: Request) -> HttpResponseBase:
    """Leave the events to the middleware, which adds the headers of the returned response; without it, collect them."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx buffers responses without the latter
    found = getattr(request, "scope", {}).get(LATER)
    if found is not None:
        found.append(EventStream(events))
        return HttpResponse(content_type="text/event-stream", headers=headers)
    content = b"".join(async_to_sync(collect)(events))
    return HttpResponse(content, content_type="text/event-stream", headers=headers)


async def collect(events: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in events]
