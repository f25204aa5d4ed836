"""The further pictures of a request, read once, at the door: what guides the painting, and what it looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import to_8_bits, to_rgb8, to_srgb
from inpainting.core.compositing import resized
from inpainting.core.geometry import Size
from inpainting.core.picture import Picture


def as_control_image(picture: Picture, size: Size) -> Picture:
    """A picture that guides, as a request has it: 8-bit RGB of the image's `size`, on white where it is transparent.

    Its numbers stay as they are: a depth map is no photo, and one that a photo guides is in that photo's colours.
    """
    return Picture(resized(on_white(to_rgb8(picture), picture), size))


def as_ip_adapter_image(picture: Picture) -> Picture:
    """A picture that is looked at, as a request has it: 8-bit sRGB, on white where it is transparent."""
    return Picture(on_white(to_srgb(to_8_bits(picture.colour), picture.icc_profile), picture))


def on_white(colour: NDArray[np.uint8], picture: Picture) -> NDArray[np.uint8]:
    """Its colour [height, width, 3] as it looks on white paper."""
    if picture.alpha is None:
        return colour
    alpha = to_8_bits(picture.alpha)[:, :, np.newaxis].astype(np.uint16)
    # (a * c + (255 - a) * 255) / 255 to the nearest; at most 255 * 255 + 127, which 16 bits hold.
    mixed = (alpha * colour + (255 - alpha) * np.uint16(255) + np.uint16(127)) // np.uint16(255)
    return mixed.astype(np.uint8)
