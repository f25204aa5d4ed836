"""The background of an image: removed, of one colour, or a blurred copy of the image around it."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.core.codecs.colour import to_8_bits
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.outpainting import Fit, Outpaint
from inpainting.core.resizing import middle, resize

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
BLUR_SHARE = 0.03
"""Of the longer side of the canvas: the standard deviation of the blur, by eye."""
BLURRED_SIDE = 512
"""The longest side at which is blurred: of a larger copy, nothing finer would be left."""


def cut_out(image: CanonicalImage, mask: Mask) -> CanonicalImage:
    """Return the image in 8 bits, transparent where it was or where the mask is black."""
    alpha = mask if image.alpha is None else np.minimum(to_8_bits(image.alpha), mask)
    return CanonicalImage(np.dstack([to_8_bits(image.colour), alpha]), image.icc_profile)


def over_colour(image: CanonicalImage, colour: Colour) -> CanonicalImage:
    """Return an image in 8 bits with alpha as it looks over a colour: RGB."""
    if image.alpha is None:
        return image
    rgb = np.broadcast_to(to_8_bits(image.colour), (image.size.height, image.size.width, 3)).astype(np.float32)
    share = to_8_bits(image.alpha).reshape(image.size.height, image.size.width, 1).astype(np.float32) / 255
    blended = rgb * share + np.asarray(colour, np.float32) * (1 - share)
    profile = image.icc_profile if image.colour.shape[2] == 3 else None
    return CanonicalImage(np.rint(blended).astype(np.uint8), profile)


def on_blurred_canvas(image: CanonicalImage, canvas: Size) -> CanonicalImage:
    """Return the image in 8 bits, scaled to fit, in the middle of a canvas that a blurred copy of it covers."""
    flat = CanonicalImage(to_8_bits(image.pixels), image.icc_profile)
    box = Outpaint(size=str(canvas), fit=Fit.CONTAIN).placement(flat.size).box
    pixels = blurred(middle(flat.pixels, canvas), canvas).copy()
    pixels[box.slices] = resize(flat, box.size).pixels
    return CanonicalImage(pixels, image.icc_profile)


def blurred(pixels: Pixels, size: Size) -> Pixels:
    """Return 8-bit pixels blurred by BLUR_SHARE, at another size. Colours are weighted with their alpha."""
    small = resize(
        CanonicalImage(pixels), size.within(Size(min(size.width, BLURRED_SIDE), min(size.height, BLURRED_SIDE)))
    )
    values = small.pixels.astype(np.float32)
    if small.has_alpha:
        values[:, :, :-1] *= values[:, :, -1:] / 255
    values = cv2.GaussianBlur(values, (0, 0), max(1.0, BLUR_SHARE * small.size.longer)).reshape(values.shape)
    if small.has_alpha:
        values[:, :, :-1] /= np.maximum(values[:, :, -1:], 1) / 255
    return resize(CanonicalImage(values.clip(0, 255).round().astype(np.uint8)), size).pixels
