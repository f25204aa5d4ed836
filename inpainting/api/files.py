"""Picture files as answers: private, never sniffed, never run; sent again only where they have changed."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from django.db.models.fields.files import FieldFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from inpainting.api.errors import Gone

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
RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")


class Willing(DefaultContentNegotiation):
    """Never refuses: a picture is what it is, and `Accept: image/png` asks for nothing else."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class PictureView(APIView):
    """Answers with a picture, or in JSON with why not, whatever the client says that it accepts."""

    content_negotiation_class = Willing


def picture_response(
    request: HttpRequest | Request, file: FieldFile, headers: dict[str, str], *, filename: str | None = None
) -> HttpResponseBase:
    """The file's bytes, or the range of them that was asked for; with a filename, as a download.

    304 where the client has them, 416 for a range beyond them. Raises Gone where the file is.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read()
    except (FileNotFoundError, ValueError) as error:
        raise Gone from error
    content_type = "image/webp" if str(file.name).endswith(".webp") else "image/png"
    # No file is ever written over, so its name stands for its bytes; the name itself is ours to know.
    etag = f'"{hashlib.sha256(str(file.name).encode()).hexdigest()[:32]}"'
    response = HttpResponse(data, content_type=content_type, headers={**headers, "Accept-Ranges": "bytes"})
    response["ETag"] = etag
    if filename:
        response["Content-Disposition"] = f'attachment; filename="{filename}"'
    if request.headers.get("If-Range", etag) == etag:
        response = part_of(response, data, request.headers.get("Range", ""))
    # DRF's request passes on what this reads of Django's own.
    answered = get_conditional_response(request, etag=etag, response=response)
    return answered or response


def part_of(response: HttpResponse, data: bytes, header: str) -> HttpResponse:
    """What a Range header asks for (RFC 9110, section 14); one that we cannot read, or of several, is ignored."""
    asked = RANGE.fullmatch(header.strip())
    if asked is None or asked[0] == "bytes=-":
        return response
    first, last = asked.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    if first and last and int(last) < start:
        return response
    if start > end:
        problem = {"status": "error", "message": "The range lies beyond the picture.", "code": "range_invalid"}
        return JsonResponse(problem, status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    response.status_code, response.content = 206, data[start : end + 1]
    response["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return response
