"""Every way a picture arrives - file, base64, data URL, URL - -> a picture."""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
from dataclasses import dataclass, replace

from django.core.files.uploadedfile import UploadedFile
from rest_framework.request import Request

from inpainting.api.bodies import Sent
from inpainting.api.errors import TooLarge
from inpainting.api.fetching import one_of_few
from inpainting.api.media.links import stored_picture
from inpainting.core.codecs import DecodedPicture, IntakeLimits, decode_picture
from inpainting.core.errors import InvalidPicture
from inpainting.net import fetch_picture_bytes, site_limits

MAX_MASK_BYTES = 10 * 2**20
PNG_START = b"\x89PNG\r\n\x1a\n"
UNSAID_TYPES = {"", "application/octet-stream"}
A_URL = re.compile(r"https?://|/images/|/api/", re.IGNORECASE)
A_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A picture that a request has: how the published API begins its complaints, and its most bytes."""

    noun: str
    prefix: str
    max_bytes: int

    def refusal(
        self, sent: Sent, why: str, code: str, *, limit: int | None = None, actual: int | None = None
    ) -> InvalidPicture:
        return InvalidPicture(
            f"{self.prefix}: {why}", code=f"{self.noun}_{code}", field=sent.field, limit=limit, actual=actual
        )


IMAGE = Part("image", "Invalid input image", IntakeLimits().max_bytes)
MASK = Part("mask", "Invalid mask file", MAX_MASK_BYTES)
CONTROL_IMAGE = Part("image", "Invalid control image", IntakeLimits().max_bytes)
IP_ADAPTER_IMAGE = Part("image", "Invalid IP-Adapter image", IntakeLimits().max_bytes)


def source_image(sent: Sent, request: Request) -> DecodedPicture:
    """Raises InvalidPicture whose message starts as the published API's does, and what a URL's fetching raises."""
    return decoded(bytes_of(sent, IMAGE, request), sent, IMAGE)


def reference_picture(sent: Sent, part: Part, request: Request) -> DecodedPicture:
    """CONTROL_IMAGE or IP_ADAPTER_IMAGE. Raises as `source_image` does; its warnings say what they are about."""
    picture = decoded(bytes_of(sent, part, request), sent, part)
    return replace(picture, warnings=tuple(f"{sent.field}: {warning}" for warning in picture.warnings))


def mask_picture(sent: Sent, request: Request) -> DecodedPicture:
    """A mask: PNG by its declared type and by its bytes."""
    data = bytes_of(sent, MASK, request)
    declared = (getattr(sent.value, "content_type", None) or "").lower()
    if declared not in {"image/png", *UNSAID_TYPES} or (data and not data.startswith(PNG_START)):
        raise MASK.refusal(sent, "Mask file must be PNG format", "type_unsupported")
    return decoded(data, sent, MASK)


def bytes_of(sent: Sent, part: Part, request: Request) -> bytes:
    """What was sent, at most part.max_bytes of it, however it came."""
    if isinstance(sent.value, UploadedFile):
        return file_bytes(sent, sent.value, part)
    text = sent.value.strip()
    if A_URL.match(text):
        stored = stored_picture(text, request, field=sent.field)
        if stored is not None:
            return stored
        with one_of_few(request):
            limits = replace(site_limits(), max_bytes=part.max_bytes)
            return fetch_picture_bytes(text, field=sent.field, limits=limits)
    return base64_bytes(sent, text, part)


def file_bytes(sent: Sent, file: UploadedFile, part: Part) -> bytes:
    size = file.size or 0
    if size > part.max_bytes and part is MASK:  # 400, as published
        raise MASK.refusal(sent, "Mask file size must be 10 MB or less", "too_large", limit=part.max_bytes, actual=size)
    if size > part.max_bytes:
        raise too_large(sent, part, size)
    data: bytes = file.read()
    return data


def base64_bytes(sent: Sent, text: str, part: Part) -> bytes:
    """Bare base64 (RFC 4648 section 4, line breaks allowed) or a data URL of it; measured before it is decoded."""
    start = A_DATA_URL.match(text)
    bare = "".join((text[start.end() :] if start else text).split())
    size = len(bare) * 3 // 4 - bare[-2:].count("=")
    if size > part.max_bytes:
        raise too_large(sent, part, size)
    try:
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: letters beyond ASCII
        why = "it is not base64, a data URL with base64, or a URL."
        raise part.refusal(sent, why, "base64_invalid") from error


def too_large(sent: Sent, part: Part, size: int) -> TooLarge:
    return TooLarge(
        f"{part.prefix}: it has {size} bytes; at most {part.max_bytes} are allowed.",
        code=f"{part.noun}_too_large",
        field=sent.field,
        limit=part.max_bytes,
        actual=size,
    )


# A picture may take hundreds of megabytes while it is read; however many are sent at once, few are read at once.
_READING = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))


def decoded(data: bytes, sent: Sent, part: Part) -> DecodedPicture:
    try:
        with _READING:
            return decode_picture(data, field=sent.field)
    except InvalidPicture as error:
        raise InvalidPicture(
            f"{part.prefix}: {error.message}", code=error.code, field=sent.field, limit=error.limit, actual=error.actual
        ) from error
