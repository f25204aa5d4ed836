"""Turns the samples of a TIFF into canonical pixels: planes, palette, inversion, alpha and CMYK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs.colour import cmyk_to_rgb, divide_by_alpha, to_8_bits
from inpainting.core.codecs.tiff_storage import Storage, read_samples
from inpainting.core.geometry import Size
from inpainting.core.picture import Pixels

CMYK_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """What the samples mean. `colour_samples`: 1 (grey or index), 3 or 4 (CMYK); `alpha`: the number of that sample.

    `palette` [colours, 3] belongs to indices. `is_inverted`: 0 is white.
    """

    size: Size
    bits: int
    colour_samples: int
    alpha: int | None
    is_premultiplied: bool
    is_inverted: bool
    palette: NDArray[np.uint8] | None


def decode_pixels(storage: Storage, layout: Layout, cmyk_profile: bytes | None) -> Pixels:
    """The pixels of the page [height, width, channels]. Raises DecodingFailed."""
    planes = read_samples(storage)
    together = np.ascontiguousarray(planes[:, :, :, 0].transpose(1, 2, 0)) if storage.planes > 1 else planes[0]
    samples = cast(Pixels, together)
    if layout.bits < 8:
        samples = _unpacked(samples, layout)
    if layout.palette is not None:
        return layout.palette[samples[:, :, 0]]
    if layout.colour_samples == CMYK_SAMPLES:
        return _in_rgb(samples, layout, cmyk_profile)
    kept = list(range(layout.colour_samples)) + ([] if layout.alpha is None else [layout.alpha])
    pixels = cast(Pixels, np.ascontiguousarray(samples if len(kept) == samples.shape[2] else samples[:, :, kept]))
    if layout.is_inverted:
        colour = pixels[:, :, :1]
        np.subtract(np.iinfo(pixels.dtype).max, colour, out=colour)
    if layout.is_premultiplied:
        divide_by_alpha(pixels)
    return pixels


def _unpacked(packed: Pixels, layout: Layout) -> NDArray[np.uint8]:
    """Samples of 1, 2 or 4 bits, one in each byte; grey is scaled to the whole range, indices are not."""
    rows = cast(NDArray[np.uint8], packed[:, :, 0])
    shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
    values = (rows[:, :, np.newaxis] >> shifts) & np.uint8(2**layout.bits - 1)
    values = values.reshape(len(rows), -1)[:, : layout.size.width, np.newaxis]
    return values if layout.palette is not None else values * np.uint8(255 // (2**layout.bits - 1))


def _in_rgb(samples: Pixels, layout: Layout, profile: bytes | None) -> NDArray[np.uint8]:
    eight = to_8_bits(samples)
    image = Image.fromarray(np.ascontiguousarray(eight[:, :, :CMYK_SAMPLES]), mode="CMYK")
    rgb = np.array(cmyk_to_rgb(image, profile))
    return rgb if layout.alpha is None else np.dstack([rgb, eight[:, :, layout.alpha]])
