"""For whoever watches the service: is the process there, and can it do its work?"""

from __future__ import annotations

import threading
import time

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse

REMEMBERED_SECONDS, HANGING_SECONDS = 1.0, 10.0


def livez(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and a file can be written; 503 names what does not."""
    broken = remembered()
    return JsonResponse({"status": "unavailable" if broken else "ok", **broken}, status=503 if broken else 200)


_last: tuple[float, dict[str, str]] | None = None
_lock = threading.Lock()


def remembered() -> dict[str, str]:
    """What is broken, as of a second ago at most: strangers may ask too, and each look writes to the disk.

    Who comes while somebody looks hears what was seen last, unless that look takes so long that something hangs.
    """
    global _last
    known = _last
    if known is None:
        _lock.acquire()
    elif not _lock.acquire(blocking=False):
        return known[1] if time.monotonic() - known[0] < HANGING_SECONDS else {"service": "takes long to answer"}
    try:
        if _last is None or time.monotonic() - _last[0] >= REMEMBERED_SECONDS:
            found = look()
            _last = time.monotonic(), found  # the time after looking: a look may itself take longer than a second
        return _last[1]
    finally:
        _lock.release()


def look() -> dict[str, str]:
    """What is broken now, and how."""
    broken = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM inpainting_generation LIMIT 1")
    except (DatabaseError, InterfaceError):
        broken["database"] = "does not answer"
    try:
        default_storage.delete(default_storage.save("readyz", ContentFile(b"ready")))
    except OSError:
        broken["storage"] = "cannot be written"
    return broken
