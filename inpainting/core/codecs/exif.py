"""EXIF orientation: read from a file's metadata, applied to its pixels."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
from numpy.typing import NDArray

from inpainting.core.picture import Pixels

UPRIGHT = 1


def read_orientation(exif: bytes) -> int:
    """Read the orientation (TIFF tag 0x112), 1-8, of EXIF data that starts with a TIFF header; 1 if missing or invalid.

    TIFF 6.0, section 2: byte order, 42, offset of the first directory; then a count and entries of 12 bytes.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, directory + 2 + 12 * entry)
            if (tag, kind, count) == (0x112, 3, 1):
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass  # an offset points outside: the metadata is invalid, so the picture stays as it is
    return UPRIGHT


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
