"""Asks the view of a request, when the head has arrived, whether its sender may send a large body.

Without it, anybody could fill the disk with bodies that are never finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from dreamlayer_site.server.request_threads import request_threads
from inpainting.api.dialects import dialect_at

AT_ONCE = 8
"""How many heads are checked at once, each in a thread with a connection to the database."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What the head of a request tells about its sender."""

    known: bool
    """Whether it has the API key or the session that the view asks for. False: the body may hold the key."""
    refusal: HttpResponse | None = None
    """The view's response to a sender who may not send the body."""


CheckSender = Callable[[dict[str, Any]], Awaitable[Sender]]


class SenderCheck:
    """Calls `sender_of` on the threads of requests, AT_ONCE at the same time."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: dict[str, Any]) -> Sender:
        async with self._turn:
            with request_threads.use_thread():
                sender: Sender = await database_sync_to_async(sender_of)(scope)
                return sender


def sender_of(scope: dict[str, Any]) -> Sender:
    """Let the view of a request authenticate its sender and check its permissions, without a body.

    scope: of ASGI, for a path whose view takes images.
    """
    found = resolve(scope["path"])
    http = ASGIRequest(scope, BytesIO())
    SessionMiddleware(_no_response).process_request(http)
    AuthenticationMiddleware(_no_response).process_request(http)
    http._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]  # a form has its token in the body
    view = found.func.cls(**found.func.initkwargs)  # type: ignore[attr-defined]  # of DRF, as are all with images
    view.args, view.kwargs = found.args, found.kwargs
    view.request = view.initialize_request(http, *found.args, **found.kwargs)
    try:
        view.initial(view.request, *found.args, **found.kwargs)
    except Exception as error:  # as in APIView.dispatch
        dialect = dialect_at(scope["path"])
        if dialect is not None and dialect.key_in_body:
            return Sender(known=False)
        return Sender(known=False, refusal=view.handle_exception(error))
    return Sender(known=True)


def _no_response(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError("The head of a request has no response.")
