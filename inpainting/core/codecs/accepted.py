"""The formats of image files that are accepted: their names, their content types and the endings of their files' names.

static/js/photo_types.js has the same types and endings for the pages; tests/web/test_photo_types.py compares both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AcceptedFormat:
    """`label` is its name in messages. Browsers and programs declare `content_types`, or none for a newer format."""

    label: str
    content_types: tuple[str, ...]
    suffixes: tuple[str, ...]


FORMATS = {
    "PNG": AcceptedFormat("PNG", ("image/png",), (".png",)),
    "JPEG": AcceptedFormat("JPEG", ("image/jpeg",), (".jpg", ".jpeg")),
    "WEBP": AcceptedFormat("WebP", ("image/webp",), (".webp",)),
    "GIF": AcceptedFormat("GIF", ("image/gif",), (".gif",)),
    "TIFF": AcceptedFormat("TIFF", ("image/tiff",), (".tif", ".tiff")),
    "BMP": AcceptedFormat("BMP", ("image/bmp",), (".bmp",)),
    "AVIF": AcceptedFormat("AVIF", ("image/avif",), (".avif",)),
    "HEIC": AcceptedFormat("HEIC", ("image/heic", "image/heif"), (".heic", ".heif")),
}
*_first, _last = (format.label for format in FORMATS.values())
ACCEPTED = f"{', '.join(_first)} or {_last}"
"""The formats in messages: "PNG, JPEG, ... or HEIC"."""
CONTENT_TYPES = tuple(content_type for format in FORMATS.values() for content_type in format.content_types)
SUFFIXES = tuple(suffix for format in FORMATS.values() for suffix in format.suffixes)
ACCEPT_ATTRIBUTE = ",".join((*CONTENT_TYPES, *SUFFIXES))
"""The attribute `accept` of a file input. The endings are for systems that know no type of a newer format."""
