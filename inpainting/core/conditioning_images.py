"""Conditioning images of a request: the ControlNet's control image and the IP-Adapter's image, in canonical form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import to_8_bits, to_rgb8, to_srgb
from inpainting.core.geometry import Size
from inpainting.core.picture import Picture
from inpainting.core.resizing import resized


def prepare_control_image(picture: Picture, size: Size) -> Picture:
    """8-bit RGB at the source image's `size`, transparent pixels composited on white.

    No colour conversion: a depth map is no photo, and a control image computed from a photo has that photo's colours.
    """
    return Picture(resized(on_white(to_rgb8(picture), picture), size))


def prepare_ip_adapter_image(picture: Picture) -> Picture:
    """8-bit sRGB at its own size, transparent pixels composited on white."""
    return Picture(on_white(to_srgb(to_8_bits(picture.colour), picture.icc_profile), picture))


def on_white(colour: NDArray[np.uint8], picture: Picture) -> NDArray[np.uint8]:
    """`colour` [height, width, 3] composited on white by the picture's alpha."""
    if picture.alpha is None:
        return colour
    alpha = to_8_bits(picture.alpha)[:, :, np.newaxis].astype(np.uint16)
    # (a * c + (255 - a) * 255) / 255 to the nearest; at most 255 * 255 + 127, which 16 bits hold.
    mixed = (alpha * colour + (255 - alpha) * np.uint16(255) + np.uint16(127)) // np.uint16(255)
    return mixed.astype(np.uint8)
