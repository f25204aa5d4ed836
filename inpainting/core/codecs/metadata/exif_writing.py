"""Writes a new Exif block of tags that were read from another one. TIFF 6.0, section 2; Exif 2.32 (CIPA DC-008)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from inpainting.core.codecs.metadata.exif import LONG, POINTERS, SIZES, UNDEFINED
from inpainting.core.metadata import ExifDirectory, ExifTag

HEADER = b"MM\0*\0\0\0\x08"
"""Big-endian, 42, and the offset of the first directory, behind these 8 bytes."""
EXIF_VERSION, USER_COMMENT = 0x9000, 0x9286
Entry = tuple[int, int, bytes]
"""Tag, type and value."""


def exif_block(tags: Iterable[ExifTag], comment: str = "") -> bytes:
    """Return a TIFF header and the directories of the tags; empty without any.

    comment: ASCII text for the tag UserComment.
    Raises UnicodeEncodeError for another text.
    """
    directories: dict[ExifDirectory, list[Entry]] = {directory: [] for directory in ExifDirectory}
    for tag in tags:
        directories[tag.directory].append((tag.number, tag.type, tag.value))
    image, photo = directories[ExifDirectory.IMAGE], directories[ExifDirectory.PHOTO]
    if comment:
        photo.append((USER_COMMENT, UNDEFINED, b"ASCII\0\0\0" + comment.encode("ascii")))
    if photo:
        photo.append((EXIF_VERSION, UNDEFINED, b"0232"))  # obligatory
    further = {pointer: directories[directory] for pointer, directory in POINTERS.items() if directories[directory]}
    if not image and not further:
        return b""
    blank = [(pointer, LONG, b"\0\0\0\0") for pointer in further]
    end, pointers, blocks = len(HEADER) + len(_directory([*image, *blank], 0)), [], []
    for pointer, entries in further.items():
        pointers.append((pointer, LONG, struct.pack(">I", end)))
        blocks.append(_directory(entries, end))
        end += len(blocks[-1])
    return b"".join([HEADER, _directory([*image, *pointers], len(HEADER)), *blocks])


def _directory(entries: Iterable[Entry], start: int) -> bytes:
    """Return a directory at the offset `start`, and the values that its entries point to behind it."""
    ordered = sorted(entries)
    fields, values = [], b""
    values_start = start + 2 + 12 * len(ordered) + 4
    for number, type, value in ordered:
        count = len(value) // {LONG: 4, UNDEFINED: 1, **SIZES}[type]
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack(">I", values_start + len(values))
            values += value + b"\0" * (len(value) % 2)  # offsets are even
        fields.append(struct.pack(">HHI", number, type, count) + field)
    return struct.pack(">H", len(ordered)) + b"".join(fields) + b"\0\0\0\0" + values
