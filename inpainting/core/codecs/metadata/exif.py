"""Exif: the orientation, applied to the pixels, and the tags that a result may keep.

TIFF 6.0, section 2, for the structure; Exif 2.32 (CIPA DC-008), sections 4.6.4 to 4.6.6, for the tags.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import islice

import cv2
from numpy.typing import NDArray

from inpainting.core.image import Pixels
from inpainting.core.metadata import ExifDirectory, ExifTag, MetadataKind, clean_text

UPRIGHT = 1
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
"""Types of values."""
SIZES = {BYTE: 1, ASCII: 1, RATIONAL: 8}
"""Type -> bytes of one value."""
ORIENTATION, COPYRIGHT = 0x112, 0x8298
POINTERS = {0x8769: ExifDirectory.PHOTO, 0x8825: ExifDirectory.GPS}
"""Tag of the image's directory -> the directory whose offset it holds."""
MAX_ENTRIES = 1000
"""Entries of a directory that are read."""
MAX_VALUE_BYTES = 4096
TAGS: dict[tuple[ExifDirectory, int], tuple[int, int, MetadataKind]] = {
    (ExifDirectory.IMAGE, 0x010F): (ASCII, 0, MetadataKind.CAMERA),  # Make
    (ExifDirectory.IMAGE, 0x0110): (ASCII, 0, MetadataKind.CAMERA),  # Model
    (ExifDirectory.IMAGE, 0x0132): (ASCII, 0, MetadataKind.DATE),  # DateTime
    (ExifDirectory.IMAGE, 0x013B): (ASCII, 0, MetadataKind.COPYRIGHT),  # Artist
    (ExifDirectory.IMAGE, COPYRIGHT): (ASCII, 0, MetadataKind.COPYRIGHT),
    (ExifDirectory.PHOTO, 0x9003): (ASCII, 0, MetadataKind.DATE),  # DateTimeOriginal
    (ExifDirectory.PHOTO, 0x9004): (ASCII, 0, MetadataKind.DATE),  # DateTimeDigitized
    (ExifDirectory.PHOTO, 0x9010): (ASCII, 0, MetadataKind.DATE),  # OffsetTime
    (ExifDirectory.PHOTO, 0x9011): (ASCII, 0, MetadataKind.DATE),  # OffsetTimeOriginal
    (ExifDirectory.PHOTO, 0x9012): (ASCII, 0, MetadataKind.DATE),  # OffsetTimeDigitized
    (ExifDirectory.PHOTO, 0x9290): (ASCII, 0, MetadataKind.DATE),  # SubSecTime
    (ExifDirectory.PHOTO, 0x9291): (ASCII, 0, MetadataKind.DATE),  # SubSecTimeOriginal
    (ExifDirectory.PHOTO, 0x9292): (ASCII, 0, MetadataKind.DATE),  # SubSecTimeDigitized
    (ExifDirectory.PHOTO, 0xA432): (RATIONAL, 4, MetadataKind.LENS),  # LensSpecification
    (ExifDirectory.PHOTO, 0xA433): (ASCII, 0, MetadataKind.LENS),  # LensMake
    (ExifDirectory.PHOTO, 0xA434): (ASCII, 0, MetadataKind.LENS),  # LensModel
    (ExifDirectory.GPS, 0): (BYTE, 4, MetadataKind.GPS),  # GPSVersionID
    (ExifDirectory.GPS, 1): (ASCII, 0, MetadataKind.GPS),  # GPSLatitudeRef
    (ExifDirectory.GPS, 2): (RATIONAL, 3, MetadataKind.GPS),  # GPSLatitude
    (ExifDirectory.GPS, 3): (ASCII, 0, MetadataKind.GPS),  # GPSLongitudeRef
    (ExifDirectory.GPS, 4): (RATIONAL, 3, MetadataKind.GPS),  # GPSLongitude
    (ExifDirectory.GPS, 5): (BYTE, 1, MetadataKind.GPS),  # GPSAltitudeRef
    (ExifDirectory.GPS, 6): (RATIONAL, 1, MetadataKind.GPS),  # GPSAltitude
}
"""Directory and number of the tags that may be kept -> type, number of values (0: any), and what they say. No serial
numbers or names of owners, no notes of the maker, no thumbnail, and no orientation, as pixels are stored upright."""

NOT_KEPT = (0, 0, None)


def read_orientation(exif: bytes) -> int:
    """Read the orientation, 1-8, of EXIF data that starts with a TIFF header; 1 if missing or invalid."""
    order, start = _header(exif)
    for number, type, count, at in _entries(exif, order, start):
        if (number, type, count) == (ORIENTATION, SHORT, 1):
            (value,) = struct.unpack_from(order + "H", exif, at)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def read_tags(exif: bytes) -> tuple[ExifTag, ...]:
    """Read the tags of TAGS from EXIF data that starts with a TIFF header.

    What is damaged, of another type than TAGS says, or longer than MAX_VALUE_BYTES is left out.
    """
    order, start = _header(exif)
    starts = {ExifDirectory.IMAGE: start}
    for number, type, count, at in _entries(exif, order, start):
        if number in POINTERS and (type, count) == (LONG, 1):
            (starts[POINTERS[number]],) = struct.unpack_from(order + "I", exif, at)
    found: dict[tuple[ExifDirectory, int], ExifTag] = {}
    for directory, offset in starts.items():
        for number, type, count, at in _entries(exif, order, offset):
            expected, length, kind = TAGS.get((directory, number), NOT_KEPT)
            if kind is None or type != expected or count != (length or count):
                continue
            if value := _value(exif, order, number, type, count, at):
                found.setdefault((directory, number), ExifTag(directory, number, type, kind, value))
    return tuple(found.values())


def _header(exif: bytes) -> tuple[str, int]:
    """Return the byte order, as struct writes it, and offset of the first directory; the end of the data where it has
    no header.

    A TIFF header is the byte order, 42, and the offset.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return "<", len(exif)
    return order, struct.unpack_from(order + "I", exif, 4)[0]


def _entries(exif: bytes, order: str, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, type, count of values and offset of the value field, 4 bytes, of each entry of the directory at
    `start`.

    A directory is a count and entries of 12 bytes. It ends where the data does.
    """
    if start + 2 > len(exif):
        return
    (count,) = struct.unpack_from(order + "H", exif, start)
    for at in islice(range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12), MAX_ENTRIES):
        number, type, values = struct.unpack_from(order + "HHI", exif, at)
        yield number, type, values, at + 8


def _value(exif: bytes, order: str, number: int, type: int, count: int, at: int) -> bytes:
    """Return the value of an entry as `ExifTag` holds it; empty where it is damaged, too long or blank."""
    size = count * SIZES[type]
    if size > MAX_VALUE_BYTES:
        return b""
    if size > 4:  # The field holds the offset of the value.
        (at,) = struct.unpack_from(order + "I", exif, at)
    raw = exif[at : at + size]
    if len(raw) < size:
        return b""
    if type == ASCII:
        return _text(raw, parts=2 if number == COPYRIGHT else 1)
    if type == RATIONAL:
        return struct.pack(f">{2 * count}I", *struct.unpack(f"{order}{2 * count}I", raw))
    return raw


def _text(raw: bytes, *, parts: int) -> bytes:
    """Return a text in UTF-8 with the NUL that ends it; empty for a blank one.

    parts: how many texts that end with a NUL are read: a copyright may be the photographer's, then the editor's.
    """
    try:
        texts = [part.decode() for part in raw.split(b"\0")[:parts]]
    except UnicodeDecodeError:
        texts = [part.decode("latin-1") for part in raw.split(b"\0")[:parts]]
    text = clean_text("; ".join(part.strip() for part in texts if part.strip()))
    return text.encode() + b"\0" if text else b""


def apply_orientation(pixels: Pixels, orientation: int) -> Pixels:
    """Rotate and flip pixels upright; JEITA CP-3451 section 4.6.4, tag Orientation."""
    channels = pixels.shape[2]
    transforms: dict[int, Callable[[NDArray], NDArray]] = {
        2: lambda p: cv2.flip(p, 1),
        3: lambda p: cv2.rotate(p, cv2.ROTATE_180),
        4: lambda p: cv2.flip(p, 0),
        5: cv2.transpose,
        6: lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
        7: lambda p: cv2.flip(cv2.transpose(p), -1),
        8: lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    if orientation == UPRIGHT:
        return pixels
    upright = transforms[orientation](pixels)
    return upright.reshape(*upright.shape[:2], channels)  # OpenCV drops the axis of a single channel
