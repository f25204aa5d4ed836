"""Image files as responses: private, never sniffed or executed, with ranges (RFC 9110) and ETags."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast
from urllib.parse import quote

from django.conf import settings
from django.core.files import File
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from inpainting.core.codecs.formats import CONTENT_TYPES, PNG, format_of
from inpainting.core.sentences import sentence
from inpainting.media.streaming import IteratorResponse, file_chunks
from inpainting.storage import StorageUnavailable
from inpainting.translation import translated

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
NGINX_LOCATION = "/stored-pictures/"
"""The internal location of nginx that has the files of the storage."""
PRESIGNED_SECONDS = 60
"""Enough to follow a redirect; a download that has begun may take longer."""
View = TypeVar("View", bound=Callable[..., HttpResponseBase])
RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")


class ImageUnavailable(Exception):
    """Base class: the image's row exists, but its bytes cannot be sent."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = MappingProxyType({})


class ImageGone(ImageUnavailable):
    """The file was lost, or deleted by hand."""

    status = 410
    code = "result_expired"
    message = sentence("The file of this image is gone.")


class StorageAway(ImageUnavailable):
    """The storage does not answer now."""

    status = 503
    code = "storage_unavailable"
    message = sentence("The server's storage does not answer; try again in a moment.")
    headers: Mapping[str, str] = MappingProxyType({"Retry-After": "5"})


class ConversionsBusy(ImageUnavailable):
    """Too many other images are being converted."""

    status = 503
    code = "try_again"
    message = sentence("Other images are being converted; try again in a moment.")
    headers: Mapping[str, str] = MappingProxyType({"Retry-After": "5"})


class RangeNotSatisfiable(ImageUnavailable):
    """The requested range lies beyond the end of the file."""

    status = 416
    code = "range_invalid"
    message = sentence("The range lies beyond the image.")

    def __init__(self, size: int) -> None:
        super().__init__(self.message)
        self.headers = {"Content-Range": f"bytes */{size}"}


def image_response(
    request: HttpRequest | Request, file: File, headers: dict[str, str], *, filename: str | None = None
) -> HttpResponseBase:
    """Return the file's bytes, or the requested range of them; with a filename, as a download. 304 where the ETag
    matches.

    With IMAGES_SENT_BY "nginx", a stored file is named to nginx, which sends it.
    Raises ImageGone, StorageAway and RangeNotSatisfiable.
    """
    size = size_of(file)
    # Files are never overwritten, so the name identifies the bytes. It is hashed to keep it private.
    etag = f'"{hashlib.sha256(str(file.name).encode()).hexdigest()[:32]}"'
    headers = image_headers(file, headers, filename)
    if settings.IMAGES_SENT_BY == "nginx" and isinstance(file, FieldFile):
        return HttpResponse(headers={**headers, "X-Accel-Redirect": quote(f"{NGINX_LOCATION}{file.name}")})
    return ranged_response(request, partial(file_chunks, file), size=size, etag=etag, headers=headers)


def linked_image_response(
    request: HttpRequest | Request, file: File, headers: dict[str, str], *, filename: str | None = None
) -> HttpResponseBase:
    """Return what `image_response` returns, for a signed link; with IMAGES_SENT_BY "bucket", a redirect to the bucket.

    Only for links: a client would send the API key or cookie of another request to the bucket, too.
    """
    # Pages allow images of their own origin only. A presigned link is for one method.
    is_sent_here = request.headers.get("Sec-Fetch-Site") == "same-origin" or request.method == "HEAD"
    if settings.IMAGES_SENT_BY != "bucket" or is_sent_here or not isinstance(file, FieldFile):
        return image_response(request, file, headers, filename=filename)
    size_of(file)  # one that is gone is 410 here, not the bucket's error
    sent = image_headers(file, headers, filename)
    storage: Any = file.storage  # S3ImageStorage; its module needs boto3
    url = storage.presigned_url(file.name, seconds=PRESIGNED_SECONDS, headers=sent)
    return HttpResponse(status=302, headers={**headers, "Location": url, "Cache-Control": "private, no-store"})


def size_of(file: File) -> int:
    """Return the bytes of a stored file. Raises ImageGone and StorageAway."""
    try:
        return int(file.size)
    except (FileNotFoundError, ValueError) as error:
        raise ImageGone from error
    except StorageUnavailable as error:
        raise StorageAway from error


def image_headers(file: File, headers: Mapping[str, str], filename: str | None) -> dict[str, str]:
    disposition = {"Content-Disposition": f'attachment; filename="{filename}"'} if filename else {}
    return {"Content-Type": CONTENT_TYPES[format_of(str(file.name)) or PNG], **headers, **disposition}


def ranged_response(
    request: HttpRequest | Request,
    chunks: Callable[[range], Iterator[bytes]],
    *,
    size: int,
    etag: str,
    headers: Mapping[str, str],
) -> HttpResponseBase:
    """Return `chunks(range)` of all `size` bytes, or of the requested range. 304 where the ETag matches.

    Raises RangeNotSatisfiable.
    """
    headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    without_body = HttpResponse(headers={**headers, "Content-Length": str(size)})
    # DRF's request forwards the attributes that this function reads.
    response = get_conditional_response(request, etag=etag, response=without_body) or without_body
    if response is not without_body or request.method == "HEAD":
        return response
    range_header = request.headers.get("Range", "") if request.headers.get("If-Range", etag) == etag else ""
    byte_range = requested_range(size, range_header)
    if byte_range is not None and not byte_range:
        raise RangeNotSatisfiable(size)
    sent = range(size) if byte_range is None else byte_range
    headers["Content-Length"] = str(len(sent))
    if byte_range is not None:
        headers["Content-Range"] = f"bytes {sent[0]}-{sent[-1]}/{size}"
    return IteratorResponse(chunks(sent), status=200 if byte_range is None else 206, headers=headers)


def errors_as_text(view: View) -> View:
    """Let a view of a page answer that the bytes of an image cannot be sent as plain text, in the page's language."""

    @wraps(view)
    def answer(*arguments: Any, **options: Any) -> HttpResponseBase:
        try:
            return view(*arguments, **options)
        except ImageUnavailable as error:
            text = translated(error.message)
            return HttpResponse(text, status=error.status, headers=error.headers, content_type="text/plain")

    return cast(View, answer)


def file_response(file: File, byte_range: range, headers: dict[str, str]) -> IteratorResponse:
    headers = {**headers, "Content-Length": str(len(byte_range))}
    return IteratorResponse(file_chunks(file, byte_range), headers=headers)


def requested_range(size: int, header: str) -> range | None:
    """Return the byte range of a Range header (RFC 9110, section 14); empty where it lies beyond the file.

    None, for the whole file, where the header is absent, malformed, or names several ranges.
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)
