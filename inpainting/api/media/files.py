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
from inpainting.api.media.streaming import Streamed, chunks

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
    "Access-Control-Expose-Headers": "accept-ranges, content-range, etag",
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
        size = file.size
    except (FileNotFoundError, ValueError) as error:
        raise Gone from error
    # No file is ever written over, so its name stands for its bytes; the name itself is ours to know.
    etag = f'"{hashlib.sha256(str(file.name).encode()).hexdigest()[:32]}"'
    content_type = "image/webp" if str(file.name).endswith(".webp") else "image/png"
    headers = {**headers, "Content-Type": content_type, "ETag": etag, "Accept-Ranges": "bytes"}
    if filename:
        headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    bare = HttpResponse(headers={**headers, "Content-Length": str(size)})
    # DRF's request passes on what this reads of Django's own.
    answer = get_conditional_response(request, etag=etag, response=bare) or bare
    if answer is not bare or request.method == "HEAD":
        return answer
    asked = request.headers.get("Range", "") if request.headers.get("If-Range", etag) == etag else ""
    part = part_of(size, asked)
    if part is None:
        return sent(file, range(size), headers)
    if not part:
        problem = {"status": "error", "message": "The range lies beyond the picture.", "code": "range_invalid"}
        return JsonResponse(problem, status=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{size}"
    return sent(file, part, headers, status=206)


def sent(file: FieldFile, part: range, headers: dict[str, str], *, status: int = 200) -> Streamed:
    return Streamed(chunks(file, part), status=status, headers={**headers, "Content-Length": str(len(part))})


def part_of(size: int, header: str) -> range | None:
    """The bytes that a Range header asks for (RFC 9110, section 14), which may be none of those that there are.

    None for all of them: no header, one that we cannot read, or of several ranges.
    """
    asked = RANGE.fullmatch(header.strip())
    if asked is None or asked[0] == "bytes=-":
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)
