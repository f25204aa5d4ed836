"""Images as requests send them - file, base64, data URL, URL - read and decoded."""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
import threading
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from rest_framework.request import Request

from inpainting.api.concurrency_limits import limit_fetches
from inpainting.api.errors import Busy, TooLarge
from inpainting.api.media.links import ReadFile, read_own_link
from inpainting.core.codecs import DecodedImage, decode_image
from inpainting.core.errors import InvalidImage
from inpainting.core.masks import MAX_MASK_BYTES
from inpainting.core.sentences import sentence
from inpainting.image_limits import image_limits
from inpainting.media.source_credentials import with_credentials
from inpainting.net import OutboundPolicy, download_image, site_policy

PNG_START = b"\x89PNG\r\n\x1a\n"
UNDECLARED_TYPES = {"", "application/octet-stream"}
URL = re.compile(r"https?://|/(?:images|api|generations|outputs|inputs)/", re.IGNORECASE)
DRAFT_IMAGE = re.compile(r"/api/draft/pictures/[0-9a-f]{64}/\?name=([^&#]{1,2000})")
DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
MAX_NAME_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class SentImage:
    """An image as sent: the name of its field, and a file or a text (base64, data URL or URL)."""

    field: str
    value: UploadedFile | str

    @property
    def name(self) -> str:
        """Name of the uploaded file, or of the draft's file that a link names with `?name=`; empty for another text."""
        if isinstance(self.value, UploadedFile):
            return (self.value.name or "")[-MAX_NAME_CHARACTERS:]
        link = DRAFT_IMAGE.fullmatch(self.value)
        return unquote(link[1])[-MAX_NAME_CHARACTERS:] if link else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRole:
    """The limits of an image field, and the prefixes of its errors."""

    code_prefix: str
    """Error codes are `image_…` or `mask_…`."""
    error_prefix: str
    """Error messages are `Invalid input image: …`."""
    own_max_bytes: int | None = None
    """The limit of the field's files; None: that of all images."""
    png_only: bool = False
    file_too_large: str = ""
    """Message for a file of more bytes, answered with 400; empty: 413, as for texts."""

    @classmethod
    def of(cls, name: str) -> ImageRole:
        """Return the role of a field whose errors name it: `image_…`, `Invalid image: …`."""
        return cls(code_prefix=name, error_prefix=f"Invalid {name}")

    @property
    def max_bytes(self) -> int:
        return self.own_max_bytes or image_limits().max_bytes

    def invalid(
        self, sent: SentImage, problem: str, code: str, *, limit: int | None = None, actual: int | None = None
    ) -> InvalidImage:
        return InvalidImage(
            sentence("{name}: {problem}", name=self.error_prefix, problem=problem),
            code=f"{self.code_prefix}_{code}",
            field=sent.field,
            limit=limit,
            actual=actual,
        )

    def too_large(self, sent: SentImage, size: int) -> TooLarge:
        return TooLarge(
            sentence(
                "{error_prefix}: it has {size} bytes; at most {max_bytes} are allowed.",
                error_prefix=self.error_prefix,
                size=size,
                max_bytes=self.max_bytes,
            ),
            code=f"{self.code_prefix}_too_large",
            field=sent.field,
            limit=self.max_bytes,
            actual=size,
        )


IMAGE = ImageRole(code_prefix="image", error_prefix="Invalid input image")
NAMED_IMAGE, NAMED_MASK = ImageRole.of("image"), ImageRole.of("mask")
"""Those of services that have no words of their own for errors."""
MASK = ImageRole(
    code_prefix="mask",
    error_prefix="Invalid mask file",
    own_max_bytes=MAX_MASK_BYTES,
    png_only=True,
    file_too_large="Mask file size must be 10 MB or less",
)


def read_field(field: str, value: Any, request: Request, *, role: ImageRole = NAMED_IMAGE) -> DecodedImage:
    """Read and decode the image of a field; see `read_image`. Raises InvalidImage for a value that is neither a file
    nor a text."""
    sent = SentImage(field, value if isinstance(value, UploadedFile | str) else "")
    return read_image(sent, role, request)


def read_image(sent: SentImage, role: ImageRole, request: Request, *, fetch_until: float | None = None) -> DecodedImage:
    """Read and decode an image.

    request: its user's own links may be read, and their limit of fetches counts.

    fetch_until: when an image behind a URL must have arrived, on the monotonic clock; see `fetch_policy`.
    Raises InvalidImage, LimitReached, Busy, and what `net.download_image` raises.
    """
    return decode_source(sent, read_file(sent, role, request, fetch_until=fetch_until), role)


def decode_source(sent: SentImage, file: ReadFile, role: ImageRole) -> DecodedImage:
    """Decode an image that a generation may keep, with its Content Credentials, which masks have none of. Raises
    InvalidImage."""
    decoded = decode_sent(sent, file.data, role, is_own=file.is_own)
    if file.is_own or not settings.CONTENT_CREDENTIALS or role.code_prefix != IMAGE.code_prefix:
        return decoded
    with _decoding:
        return with_credentials(decoded, file.data, field=sent.field)


def decode_sent(sent: SentImage, data: bytes, role: ImageRole, *, is_own: bool = False) -> DecodedImage:
    """Decode the bytes of an image as sent.

    is_own: see `IntakeLimits`.
    Raises InvalidImage.
    """
    if role.png_only:
        check_png(sent, data, role)
    try:
        with _decoding:
            return decode_image(data, field=sent.field, limits=replace(image_limits(), is_own_file=is_own))
    except InvalidImage as error:
        raise InvalidImage(
            sentence("{name}: {problem}", name=role.error_prefix, problem=error.message),
            code=error.code,
            field=sent.field,
            limit=error.limit,
            actual=error.actual,
        ) from error


# Decoding may take hundreds of megabytes an image, so only a few are decoded at once.
_decoding = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))


def read_bytes(sent: SentImage, role: ImageRole, request: Request) -> bytes:
    return read_file(sent, role, request).data


def read_file(sent: SentImage, role: ImageRole, request: Request, *, fetch_until: float | None = None) -> ReadFile:
    """Return the bytes of the file, of the base64 text, or behind the URL; at most role.max_bytes."""
    if isinstance(sent.value, UploadedFile):
        return ReadFile(file_bytes(sent, sent.value, role))
    text = sent.value.strip()
    if URL.match(text):
        own = read_own_link(text, request, field=sent.field)
        if own is not None:
            return own
        with limit_fetches(request.user):
            return ReadFile(download_image(text, field=sent.field, policy=fetch_policy(role, fetch_until)))
    return ReadFile(base64_bytes(sent, text, role))


def fetch_policy(role: ImageRole, until: float | None) -> OutboundPolicy:
    """Return the site's policy with the limits of the role, and with what is left of the time `until`, in whole
    seconds.

    Raises Busy where less than a second is left.
    """
    policy = replace(site_policy(), max_bytes=role.max_bytes)
    if until is None:
        return policy
    left = math.floor(until - time.monotonic())
    if left < 1:
        raise Busy
    return replace(policy, total_seconds=min(policy.total_seconds, left))


def check_png(sent: SentImage, data: bytes, role: ImageRole) -> None:
    """Check that a file is a PNG. Raises InvalidImage unless the declared type and the first bytes are those of a
    PNG."""
    declared = (getattr(sent.value, "content_type", None) or "").lower()
    if declared not in {"image/png", *UNDECLARED_TYPES} or (data and not data.startswith(PNG_START)):
        raise role.invalid(sent, "Mask file must be PNG format", "type_unsupported")


def file_bytes(sent: SentImage, file: UploadedFile, role: ImageRole) -> bytes:
    size = file.size or 0
    if size > role.max_bytes and role.file_too_large:
        raise role.invalid(sent, role.file_too_large, "too_large", limit=role.max_bytes, actual=size)
    if size > role.max_bytes:
        raise role.too_large(sent, size)
    data: bytes = file.read()
    return data


def base64_bytes(sent: SentImage, text: str, role: ImageRole) -> bytes:
    """Return bytes of base64 (RFC 4648 section 4, line breaks allowed), bare or in a data URL; measured before
    decoding."""
    start = DATA_URL.match(text)
    bare = "".join((text[start.end() :] if start else text).split())
    size = len(bare) * 3 // 4 - bare[-2:].count("=")
    if size > role.max_bytes:
        raise role.too_large(sent, size)
    try:
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        problem = "it is not base64, a data URL with base64, or a URL."
        raise role.invalid(sent, problem, "base64_invalid") from error
