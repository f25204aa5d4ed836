"""OpenCV and Pillow as decoders of image data that a parser has copied out; their many errors become one."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from inpainting.core.codecs.parsed_file import DecodingFailed
from inpainting.core.picture import Pixels

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
"""Exceptions that Pillow's decoders raise on damaged files, as observed."""


def decode_with_opencv(data: bytes) -> Pixels:
    """Decode one PNG, JPEG or WebP to [height, width, channels], colours in the order red, green, blue (, alpha).

    Depth and alpha are kept; grey with alpha comes back as four channels. Raises DecodingFailed.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DecodingFailed(error.err or str(error)) from error
    if pixels is None:
        raise DecodingFailed("its image data cannot be decoded")
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis]
    # In place: a second copy of the largest picture would cost another 160 MB.
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, dst=pixels)


def decode_with_pillow(data: bytes, format: str) -> Image.Image:
    """Decode one GIF or JPEG, in the mode that Pillow chooses. Raises DecodingFailed."""
    try:
        image = Image.open(io.BytesIO(data), formats=[format])
        image.load()
    except UnidentifiedImageError as error:  # its message is the address of the buffer
        raise DecodingFailed("its image data cannot be decoded") from error
    except PILLOW_ERRORS as error:
        raise DecodingFailed(str(error)) from error
    return image
