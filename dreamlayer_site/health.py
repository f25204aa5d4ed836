"""Paths for monitoring: `/livez` (the process responds), `/readyz` (database and storage work), `/metrics`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from accounts.locks import lock_timeout
from accounts.outages import DATABASE_ERRORS
from dreamlayer_site.metrics_page import metrics_page
from dreamlayer_site.server.bodies import unread_bodies
from dreamlayer_site.server.body_limit import Application, Receive, Send
from inpainting.storage import is_nearly_full
from inpainting.worker import watchdog

CACHE_SECONDS, HANGING_SECONDS = 1.0, 10.0
STORAGE_SECONDS = DATABASE_LOCK_SECONDS = 5.0
CONNECT_SECONDS = 1.0
LITTLE_SPACE, MANY_UPLOADS = "has too little free space", "take too much space"
"""Problems for which requests are refused, while what was accepted is still painted."""
PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}

_storage_thread = ThreadPoolExecutor(1, thread_name_prefix="storage check")
_is_migrated = False


class CachedCheck:
    """A check, at most every CACHE_SECONDS: requests need no sign-in, and `find_problems` writes to the disk.

    find: returns components and their problems.
    """

    def __init__(self, find: Callable[[], dict[str, str]]) -> None:
        self._find = find
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
                problems = self._find()
                self._last = time.monotonic(), problems  # the time after the check, which can take longer
            return self._last[1]
        finally:
            self._lock.release()


def find_problems() -> dict[str, str]:
    """Return what does not work now: component and problem."""
    problems = {"database": find_database_problem()}
    storage = _storage_thread.submit(find_storage_problem)
    try:
        problems["storage"] = storage.result(STORAGE_SECONDS)
    except TimeoutError:
        storage.cancel()
        problems["storage"] = "takes long to answer"
    if unread_bodies.was_full():
        problems["uploads"] = MANY_UPLOADS
    return {component: problem for component, problem in problems.items() if problem}


def find_database_problem() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM inpainting_generation LIMIT 1")
        if not is_migrated():
            return "lacks migrations"
    except DATABASE_ERRORS:
        return "does not answer"
    return "" if accepts_writes() else "cannot be written"


def accepts_writes() -> bool:
    """Return whether a transaction that writes can begin. An empty one writes nothing."""
    try:
        with lock_timeout(DATABASE_LOCK_SECONDS), transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SHOW transaction_read_only")  # also on a standby
                return bool(cursor.fetchone()[0] == "off")
    except DATABASE_ERRORS:
        return False  # on SQLite it begins with the write lock, see `database_settings`
    return True


def is_migrated() -> bool:
    """Return whether all migrations of this version have been applied. Read until they have."""
    global _is_migrated
    if not _is_migrated:
        executor = MigrationExecutor(connection)
        _is_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _is_migrated


def find_storage_problem() -> str:
    try:
        default_storage.delete(default_storage.save("readyz", ContentFile(b"ready")))
        return LITTLE_SPACE if is_nearly_full() else ""
    except OSError:
        return "cannot be written"


def find_claim_problems() -> dict[str, str]:
    """Return why this process could store no result, so that it may claim no work."""
    return {
        component: problem
        for component, problem in readiness.problems().items()
        if problem not in (LITTLE_SPACE, MANY_UPLOADS)
    }


def find_servers_away() -> dict[str, str]:
    """Return the broker and the channel layer, if they are servers that cannot be reached."""
    urls = {"broker": settings.BROKER_URL, "channel_layer": settings.CHANNEL_URL}
    return {name: "away" for name, url in urls.items() if url and not is_reachable(url)}


def is_reachable(url: str) -> bool:
    """Return whether the server of a URL accepts connections. Unix sockets are not tried."""
    parts = urlsplit(url)
    if not parts.hostname:
        return True
    try:
        socket.create_connection((parts.hostname, parts.port or PORTS[parts.scheme]), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


readiness, servers = CachedCheck(find_problems), CachedCheck(find_servers_away)


def livez(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200 if the database can be written and requests can be stored, else 503 with the reasons.

    A broker or a channel layer that is away is named, and is no reason: the process works without them.
    """
    problems = {"service": "is stopping"} if watchdog.draining.is_set() else readiness.problems()
    state = {"status": "unavailable" if problems else "ok", **problems, **servers.problems()}
    return JsonResponse(state, status=503 if problems else 200)


MONITORING = {"/livez": livez, "/readyz": readyz, "/metrics": metrics_page}
"""Path -> view. Every role serves them, whatever host the request names."""


@async_only_middleware
def monitoring(get_response: Any) -> Any:
    """Answer MONITORING before the host is checked: probes name the address of a container."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if view := MONITORING.get(request.path):
            return await sync_to_async(view)(request)
        response: HttpResponseBase = await get_response(request)
        return response

    return middleware


def only_monitoring(application: Application) -> Application:
    """Return an ASGI application for workers, which answers 404 to all other paths."""

    async def limited(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in MONITORING:
            await application(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close"})

    return limited
