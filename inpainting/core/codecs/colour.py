"""Colour: the check of ICC profiles, and conversions between colour spaces and depths."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from inpainting.core.codecs.decoders import PILLOW_ERRORS
from inpainting.core.geometry import row_strips
from inpainting.core.image import CanonicalImage, Pixels

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
BAND_ROWS = 64
"""Rows of which colours are divided by alpha at once, so that the numbers in between stay small."""
PROFILE_ERRORS: tuple[type[Exception], ...] = (ImageCms.PyCMSError, *PILLOW_ERRORS)


def profile_matches(profile: bytes | None, space: str) -> bool:
    """Return whether an ICC profile is valid and describes pixels of this colour space ("RGB ", "GRAY" or "CMYK").

    ICC.1:2022 section 7.2: size in bytes 0-3, colour space in 16-19, "acsp" in 36-39. The rest is valid if LittleCMS
    can build a conversion to sRGB from it.
    """
    if not profile or len(profile) < 128 or profile[36:40] != b"acsp" or profile[16:20] != space.encode():
        return False
    if int.from_bytes(profile[:4]) > len(profile):
        return False
    try:
        _to_srgb(profile, MODES[space])
    except PROFILE_ERRORS:
        return False
    return True


def cmyk_to_rgb(profile: bytes | None) -> Callable[[Image.Image], Image.Image]:
    """Return the conversion of CMYK images to sRGB: by a profile, or without one as (1-C)(1-K) for each colour."""
    if profile is None:
        return lambda image: image.convert("RGB")
    return _to_srgb(profile, "CMYK").apply


def to_rgb8(image: CanonicalImage) -> NDArray[np.uint8]:
    """Return the image as 8-bit RGB for an engine: [height, width, 3], read-only, sharing its memory where possible.

    16-bit values are rounded to 8 bits (value / 257); grey is repeated; alpha is dropped, so that transparent pixels
    show their stored colours. The values stay in the image's own colour space.
    """
    colour = to_8_bits(image.colour)
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    colour = np.ascontiguousarray(colour).view()
    colour.flags.writeable = False
    return colour


def to_8_bits(pixels: Pixels) -> NDArray[np.uint8]:
    """Round to 8 bits: value / 257, as 65535 = 255 * 257. No quotient lies half-way, so float rounding is exact."""
    if pixels.dtype == np.uint8:
        return cast(NDArray[np.uint8], pixels)
    return cv2.convertScaleAbs(np.ascontiguousarray(pixels), alpha=1 / 257).reshape(pixels.shape)


def composite_on_white(colour: NDArray[np.uint8], image: CanonicalImage) -> NDArray[np.uint8]:
    """Return `colour` [height, width, channels] composited on white by the image's alpha."""
    alpha = image.alpha
    if alpha is None:
        return colour
    mixed = np.empty(colour.shape, np.uint8)
    for top, bottom in row_strips(*alpha.shape):
        share = to_8_bits(alpha[top:bottom])[:, :, np.newaxis].astype(np.uint16)
        # (a * c + (255 - a) * 255) / 255 to the nearest; at most 255 * 255 + 127, which 16 bits hold.
        weighted = share * colour[top:bottom] + (255 - share) * np.uint16(255)
        mixed[top:bottom] = (weighted + np.uint16(127)) // np.uint16(255)
    return mixed


def divide_by_alpha(pixels: Pixels) -> None:
    """Undo, in place, the multiplication of colours with alpha, the last channel; rounded.

    Under alpha 0 colours stay as they are.
    """
    full = int(np.iinfo(pixels.dtype).max)
    for top in range(0, len(pixels), BAND_ROWS):
        band = pixels[top : top + BAND_ROWS]
        alpha = band[:, :, -1:].astype(np.float32)
        divided = band[:, :, :-1] * np.where(alpha > 0, full / np.maximum(alpha, 1), 1).astype(np.float32)
        np.rint(divided, out=divided)
        band[:, :, :-1] = np.minimum(divided, full, out=divided)


def to_srgb(colour: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """Return 8-bit grey or RGB [height, width, 1 or 3] as sRGB [height, width, 3]; an unsuitable profile is ignored."""
    grey = colour.shape[2] == 1
    if profile is not None and profile_matches(profile, "GRAY" if grey else "RGB "):
        image = Image.fromarray(np.ascontiguousarray(colour[:, :, 0] if grey else colour))
        return np.asarray(_to_srgb(profile, image.mode).apply(image))
    return np.repeat(colour, 3, axis=2) if grey else colour


def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
