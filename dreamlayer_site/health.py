"""Health checks for monitoring: `/livez` (the process responds) and `/readyz` (database and storage work)."""

from __future__ import annotations

import threading
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from dreamlayer_site.body_limit import Application, Receive, Send
from inpainting.storage import is_nearly_full
from inpainting.worker import watchdog

CACHE_SECONDS, HANGING_SECONDS = 1.0, 10.0


def only_health_checks(application: Application) -> Application:
    """An ASGI application for workers, which answers 404 to everything else."""

    async def limited(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in HEALTH_CHECKS:
            await application(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close"})

    return limited


def livez(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the database responds and requests can be stored, else 503 with the reasons."""
    problems = {"service": "is stopping"} if watchdog.draining.is_set() else check.problems()
    return JsonResponse({"status": "unavailable" if problems else "ok", **problems}, status=503 if problems else 200)


@async_only_middleware
def health_checks(get_response: Any) -> Any:
    """Answer the health checks, whatever host they name: probes take the address of a container."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if view := HEALTH_CHECKS.get(request.path):
            return await sync_to_async(view)(request)
        response: HttpResponseBase = await get_response(request)
        return response

    return middleware


class CachedCheck:
    """`find_problems`, at most every CACHE_SECONDS: requests need no sign-in, and each check writes to the disk."""

    def __init__(self) -> None:
        self._last: tuple[float, dict[str, str]] | None = None
        self._lock = threading.Lock()

    def problems(self) -> dict[str, str]:
        """Return the problems found at most CACHE_SECONDS ago.

        While another thread checks, return its previous result; after HANGING_SECONDS, report that the check hangs.
        """
        known = self._last
        if known is None:
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            return known[1] if time.monotonic() - known[0] < HANGING_SECONDS else {"service": "takes long to answer"}
        try:
            if self._last is None or time.monotonic() - self._last[0] >= CACHE_SECONDS:
                problems = find_problems()
                self._last = time.monotonic(), problems  # the time after the check, which can take longer
            return self._last[1]
        finally:
            self._lock.release()


def find_problems() -> dict[str, str]:
    """Return what does not work now: component and problem."""
    problems = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM inpainting_generation LIMIT 1")
    except (DatabaseError, InterfaceError):
        problems["database"] = "does not answer"
    try:
        if is_nearly_full():
            problems["storage"] = "has too little free space"
        default_storage.delete(default_storage.save("readyz", ContentFile(b"ready")))
    except OSError:
        problems["storage"] = "cannot be written"
    return problems


check = CachedCheck()
HEALTH_CHECKS = {"/livez": livez, "/readyz": readyz}
