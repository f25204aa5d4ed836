"""What a format's reader finds in a file before any pixel is decoded, and the two decoders that draw it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from inpainting.core.geometry import Size
from inpainting.core.picture import Pixels

UPRIGHT = 1
PILLOW_ERRORS: tuple[type[Exception], ...] = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    OverflowError,
    IndexError,
    KeyError,
    MemoryError,
    struct.error,
)
"""What Pillow's decoders have been seen to raise on damaged files."""


class Undrawable(Exception):
    """A decoder gave up on what the file holds."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A file taken apart. `draw` decodes the first frame to [height, width, channels] or raises Undrawable.

    `orientation` is EXIF's 1-8 for the pixels as drawn. `profile_space` is the colour space that `icc_profile` must
    describe to belong to what `draw` gives: "RGB ", "GRAY", or "" where it has been used up.
    """

    size: Size
    draw: Callable[[], Pixels]
    profile_space: str
    icc_profile: bytes | None = None
    orientation: int = UPRIGHT
    warnings: tuple[str, ...] = ()


def draw_with_opencv(drawing: bytes) -> Pixels:
    """Decode one PNG, JPEG or WebP to [height, width, channels], colours in the order red, green, blue (, alpha).

    Depth and alpha are kept; grey with alpha comes back as four channels. Raises Undrawable.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(drawing, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise Undrawable(error.err or str(error)) from error
    if pixels is None:
        raise Undrawable("its image data cannot be decoded")
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis]
    # In place: a second copy of the largest picture would cost another 160 MB.
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, dst=pixels)


def draw_with_pillow(drawing: bytes, format: str) -> Image.Image:
    """Decode one GIF or JPEG, in whatever mode Pillow gives it. Raises Undrawable."""
    try:
        image = Image.open(io.BytesIO(drawing), formats=[format])
        image.load()
    except PILLOW_ERRORS as error:
        raise Undrawable(str(error)) from error
    return image


def orientation_in(exif: bytes) -> int:
    """EXIF's orientation (TIFF tag 0x112), 1-8, from a TIFF header onwards; 1 where it is missing or garbage.

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
        pass  # the directory points outside: garbage, so the picture stays as it is
    return UPRIGHT


def turned_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo what EXIF's orientation says was done; JEITA CP-3451 section 4.6.4, tag Orientation."""
    channels = pixels.shape[2]
    flip: dict[int, Callable[[NDArray], NDArray]] = {
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
    turned = flip[orientation](pixels)
    return turned.reshape(*turned.shape[:2], channels)  # OpenCV drops the axis of a single channel
