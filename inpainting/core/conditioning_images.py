"""Conditioning images of a request: control images, masks of regions, image prompts, reference images and the image to
insert, in canonical form."""

from __future__ import annotations

import numpy as np

from inpainting.core import masks
from inpainting.core.adapter_uses import INSERT
from inpainting.core.codecs.colour import composite_on_white, to_8_bits, to_rgb8, to_srgb
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.resizing import resize_pixels


def prepare_control_image(image: CanonicalImage, size: Size) -> CanonicalImage:
    """Return 8-bit RGB at the source image's `size`, transparent pixels composited on white.

    No colour conversion: a depth map is no photo, and a control image computed from a photo has that photo's colours.
    """
    return CanonicalImage(resize_pixels(composite_on_white(to_rgb8(image), image), size))


def prepare_region_mask(image: CanonicalImage, size: Size) -> CanonicalImage:
    """Return 8-bit grey of the source image's `size`: 255 inside the region, 0 outside and where it is transparent."""
    mask = masks.normalise(image, polarity=masks.MaskPolarity.WHITE_REPAINTS, size=size)
    return CanonicalImage.of_mask(mask)


def prepare_unscaled_image(name: str, image: CanonicalImage) -> CanonicalImage:
    """Return a conditioning image that is none of SCALED_IMAGES at its own size, by its name in a request."""
    return prepare_insert(image) if name in INSERT.images else prepare_whole_image(image)


def prepare_insert(image: CanonicalImage) -> CanonicalImage:
    """Return the image to insert at its own size: 8-bit sRGB, with alpha where a pixel is transparent."""
    colour = to_srgb(to_8_bits(image.colour), image.icc_profile)
    if image.alpha is None or image.is_opaque:
        return CanonicalImage(colour)
    return CanonicalImage(np.dstack([colour, to_8_bits(image.alpha)]))


def prepare_whole_image(image: CanonicalImage) -> CanonicalImage:
    """Return an image prompt or reference image at its own size: 8-bit sRGB, transparent pixels composited on white."""
    return CanonicalImage(composite_on_white(to_srgb(to_8_bits(image.colour), image.icc_profile), image))
