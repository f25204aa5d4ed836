"""OpenCV, Pillow and libheif as decoders of image data that a parser has copied out; their many errors become one."""

from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pi_heif
import pi_heif.options
from PIL import AvifImagePlugin, Image, UnidentifiedImageError

from inpainting.core.codecs.parsed_file import DecodingFailed
from inpainting.core.geometry import Size, row_strips
from inpainting.core.image import Pixels
from inpainting.core.places import without_places
from inpainting.core.sentences import sentence

PILLOW_ERRORS: tuple[type[Exception], ...] = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    OverflowError,
    IndexError,
    KeyError,
    MemoryError,
    RuntimeError,
    struct.error,
)
"""Exceptions that the decoders of Pillow and libheif raise on damaged files, as observed."""


pi_heif.options.DECODE_THREADS = 1
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
"""Tiles are decoded one after the other, so that one image takes neither all cores nor several tiles' memory."""

LARGE_PIXELS = 16_000_000
"""A larger image is decoded from a temporary file: `cv2.imdecode` holds its pixels twice, and `cv2.imread` does not
(OpenCV 5.0, measured)."""


def decode_with_opencv(*data: bytes | memoryview, size: Size | None = None) -> Pixels:
    """Decode one PNG, JPEG, WebP, BMP or deep AVIF to [height, width, channels]: red, green, blue (, alpha).

    data: the parts of the file, in their order.
    size: of the image, where it may be large.
    Depth and alpha are kept; grey with alpha comes back as four channels. Samples of 10 and 12 bits keep their values
    in 16 bits. Raises DecodingFailed.
    """
    try:
        if size is not None and size.area > LARGE_PIXELS:
            pixels = _decode_from_file(data)
        else:
            pixels = cv2.imdecode(np.frombuffer(b"".join(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DecodingFailed(error.err or without_places(str(error))) from error
    if pixels is None:
        raise DecodingFailed(sentence("its image data cannot be decoded"))
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis]
    code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    for top, bottom in row_strips(*pixels.shape[:2]):  # OpenCV copies what it converts in place.
        cv2.cvtColor(pixels[top:bottom], code, dst=pixels[top:bottom])
    return pixels


def _decode_from_file(data: tuple[bytes | memoryview, ...]) -> Pixels | None:
    """Return what `cv2.imdecode` returns; the parts are not joined in memory either."""
    with tempfile.TemporaryDirectory(prefix="dreamlayer-") as folder:
        path = Path(folder, "image")
        with path.open("wb") as file:
            file.writelines(data)
        return cast(Pixels | None, cv2.imread(str(path), None, cv2.IMREAD_UNCHANGED))


def decode_with_pillow(data: bytes, format: str) -> Image.Image:
    """Decode one GIF, JPEG or AVIF, in the mode that Pillow chooses. Raises DecodingFailed."""
    try:
        image = Image.open(io.BytesIO(data), formats=[format])
        image.load()
    except UnidentifiedImageError as error:  # its message is the address of the buffer
        raise DecodingFailed(sentence("its image data cannot be decoded")) from error
    except PILLOW_ERRORS as error:
        raise DecodingFailed(without_places(str(error))) from error
    return image


def decode_with_libheif(data: bytes) -> Pixels:
    """Decode one HEIC to [height, width, channels]: grey or RGB, with alpha where it has it.

    Samples of 10 and 12 bits keep their values in 16 bits. Raises DecodingFailed.
    """
    try:
        image = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
        # A copy, because the array's memory is freed with the image; and without the padding of its rows.
        pixels = np.array(np.asarray(image)[:, : image.size[0]])
    except PILLOW_ERRORS as error:
        raise DecodingFailed(without_places(str(error)) or sentence("its image data cannot be decoded")) from error
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
