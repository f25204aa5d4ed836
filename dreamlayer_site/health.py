"""For whoever watches the service: is the process there, and can it do its work?"""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse


def livez(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and a file can be written; 503 names what does not."""
    broken = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM inpainting_generation LIMIT 1")
    except DatabaseError:
        broken["database"] = "does not answer"
    try:
        default_storage.delete(default_storage.save("readyz", ContentFile(b"ready")))
    except OSError:
        broken["storage"] = "cannot be written"
    return JsonResponse({"status": "unavailable" if broken else "ok", **broken}, status=503 if broken else 200)
