"""The background of an image: removed, of one colour, or a blurred copy of the image around it."""

from __future__ import annotations

import numpy as np
import pytest

from inpainting.core.backgrounds import cut_out, on_blurred_canvas, over_colour
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage

RED = (200, 40, 30)


def noise(channels: int, dtype: str) -> CanonicalImage:
    """[48, 64, channels]: noise, opaque where it has alpha."""
    pixels = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (48, 64, channels)).astype(dtype)
    if channels in (2, 4):
        pixels[:, :, -1] = np.iinfo(dtype).max
    return CanonicalImage(pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_mode_is_cut_out_coloured_and_put_on_a_canvas(channels: int, dtype: str) -> None:
    image, mask = noise(channels, dtype), np.zeros((48, 64), np.uint8)
    mask[10:30, 10:30] = 255
    alone = cut_out(image, mask)
    assert (alone.has_alpha, alone.bits) == (True, 8)
    assert alone.alpha is not None
    assert np.array_equal(alone.alpha, mask)
    coloured = over_colour(alone, RED)
    assert coloured.mode == "RGB"
    assert (coloured.pixels[mask == 0] == RED).all()
    assert np.array_equal(coloured.pixels[mask > 0], np.broadcast_to(alone.colour, (48, 64, 3))[mask > 0])
    canvas = on_blurred_canvas(image, Size(64, 100))
    assert (canvas.size, canvas.mode, canvas.bits) == (Size(64, 100), image.mode, 8)


def test_a_thin_strip_is_put_on_a_canvas_of_the_other_shape() -> None:
    """Scaled before it is cropped, the copy behind it would have 17 gigapixels."""
    strip = CanonicalImage(np.full((8, 8192, 3), RED, np.uint8))
    canvas = on_blurred_canvas(strip, Size(8, 4096))
    assert canvas.size == Size(8, 4096)
    assert (canvas.pixels == RED).all()


def test_colours_of_transparent_pixels_do_not_bleed_into_a_blurred_canvas() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[16:48, 16:48] = (*RED, 255)
    canvas = on_blurred_canvas(CanonicalImage(pixels), Size(64, 128)).pixels
    seen = canvas[:32][canvas[:32, :, 3] > 40].astype(int)
    assert len(seen) > 100
    assert np.abs(seen[:, :3] - RED).max() <= 10
