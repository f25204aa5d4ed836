"""Picture files as answers: private, never sniffed, never run."""

from __future__ import annotations

from django.db.models.fields.files import FieldFile
from django.http import Http404, HttpResponse

INERT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
OWNERS_ONLY = {**INERT, "Cache-Control": "private, max-age=3600", "Cross-Origin-Resource-Policy": "same-origin"}
FOR_EVERY_ORIGIN = {
    **INERT,
    "Cache-Control": "private, no-store",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Allow-Origin": "*",
}


def picture_response(file: FieldFile, headers: dict[str, str], *, filename: str | None = None) -> HttpResponse:
    """The file's bytes; with a filename, as a download. Raises Http404 where the file is gone."""
    try:
        with file.open("rb") as opened:
            data = opened.read()
    except (FileNotFoundError, ValueError) as error:
        raise Http404 from error
    content_type = "image/webp" if str(file.name).endswith(".webp") else "image/png"
    response = HttpResponse(data, content_type=content_type, headers=headers)
    if filename:
        response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
