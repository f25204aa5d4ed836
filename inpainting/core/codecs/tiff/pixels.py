"""Turns the samples of a TIFF into canonical pixels: planes, palette, inversion, alpha and CMYK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs.colour import cmyk_to_rgb, divide_by_alpha, to_8_bits
from inpainting.core.codecs.tiff.samples import read_samples
from inpainting.core.codecs.tiff.storage import Storage
from inpainting.core.geometry import Size, row_strips
from inpainting.core.image import Pixels

CMYK_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """What the samples mean.

    `palette` [colours, 3] belongs to indices.
    """

    size: Size
    bits: int
    colour_samples: int  # 1 (grey or index), 3 or 4 (CMYK)
    alpha: int | None  # the number of that sample
    is_premultiplied: bool
    is_inverted: bool  # 0 is white
    palette: NDArray[np.uint8] | None


def decode_pixels(storage: Storage, layout: Layout, cmyk_profile: bytes | None) -> Pixels:
    """Return the pixels of the page [height, width, channels]. Raises DecodingFailed, or InvalidImage for unread
    JPEGs."""
    alpha = [] if layout.alpha is None else [layout.alpha]
    pixels = read_samples(storage, [*range(layout.colour_samples), *alpha])
    if layout.bits < 8:
        pixels = _unpack(pixels, layout)
    if layout.palette is not None:
        colours = layout.palette[pixels[:, :, 0]]
        pixels = cast(Pixels, np.dstack([colours, pixels[:, :, 1]])) if alpha else colours
    if layout.is_inverted:
        colour = pixels[:, :, :1]
        np.subtract(np.iinfo(pixels.dtype).max, colour, out=colour)
    if layout.is_premultiplied:
        divide_by_alpha(pixels)
    return _convert_to_rgb(pixels, cmyk_profile) if layout.colour_samples == CMYK_SAMPLES else pixels


def _unpack(packed: Pixels, layout: Layout) -> NDArray[np.uint8]:
    """Return samples of 1, 2 or 4 bits, one in each byte; grey is scaled to the whole range, indices are not."""
    rows = cast(NDArray[np.uint8], packed[:, :, 0])
    shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
    values = (rows[:, :, np.newaxis] >> shifts) & np.uint8(2**layout.bits - 1)
    values = values.reshape(len(rows), -1)[:, : layout.size.width, np.newaxis]
    return values if layout.palette is not None else values * np.uint8(255 // (2**layout.bits - 1))


def _convert_to_rgb(pixels: Pixels, profile: bytes | None) -> NDArray[np.uint8]:
    """Return CMYK with or without alpha, as RGB with 8 bits. By strips, so that no other copy is made."""
    height, width, channels = pixels.shape
    converted, convert = np.empty((height, width, channels - 1), np.uint8), cmyk_to_rgb(profile)
    for top, bottom in row_strips(height, width):
        eight = to_8_bits(pixels[top:bottom])
        image = Image.fromarray(np.ascontiguousarray(eight[:, :, :CMYK_SAMPLES]), mode="CMYK")
        converted[top:bottom, :, :3] = np.asarray(convert(image))
        converted[top:bottom, :, 3:] = eight[:, :, CMYK_SAMPLES:]
    return converted
