"""Middleware that logs and measures each HTTP request: its id, route, status and duration."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dreamlayer_site.health import MONITORING
from dreamlayer_site.server.body_limit import Application, Message, Receive, Send
from inpainting import metrics
from inpainting.log_context import request_id

logger = logging.getLogger(__name__)

HEADER = b"x-request-id"
WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ROUTE = "dreamlayer.route"
"""The key of the ASGI scope whose list takes the route of the view."""
NO_RESPONSE = 499
"""The status of requests whose client left before the response, as nginx logs it."""


class RequestContextMiddleware:
    """An ASGI middleware: sets and returns the request id, measures the request and writes its line of the log."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        started, status, route = time.perf_counter(), NO_RESPONSE, list[str]()
        identifier = request_id_of(scope)
        request_id.set(identifier)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, identifier.encode())]}
            await send(message)

        try:
            await self.application({**scope, ROUTE: route}, receive, send_with_id)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            found, seconds = route_of(scope["path"], route), time.perf_counter() - started
            metrics.HTTP_SECONDS.labels(method, found, status).observe(seconds)
            logger.info(
                "%s %s %d",
                method,
                found,
                status,
                extra={"fields": {"method": method, "route": found, "status": status, "seconds": round(seconds, 4)}},
            )


class RoutingHandler(ASGIHandler):
    """Django's handler, which tells the middleware above the route of the view."""

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await super().get_response_async(request)
        if request.resolver_match is not None:
            request.scope.get(ROUTE, []).append(f"/{request.resolver_match.route}")  # type: ignore[attr-defined]
        return response


def request_id_of(scope: dict[str, Any]) -> str:
    """Return the id that the client or a proxy sent, if it is well-formed, else a new one."""
    sent = dict(scope["headers"]).get(HEADER, b"")
    return sent.decode() if WELL_FORMED.fullmatch(sent) else uuid.uuid4().hex


def route_of(path: str, route: list[str]) -> str:
    """Return the URL pattern of the view, never the path: paths have unlimited values, and some contain secrets."""
    if route:
        return route[0]
    if path in MONITORING:
        return path
    return settings.STATIC_URL if path.startswith(settings.STATIC_URL) else "unmatched"
