"""A step over an image: exactly its result where nothing beneath has changed, and nothing outside of its mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.core.compositing import composite, outside_mask_changed_pixels
from inpainting.core.errors import InvalidRequest
from inpainting.core.feathering import Feather
from inpainting.core.geometry import Box, Size, Window
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.outpainting import Outpaint, extend
from inpainting.core.resizing import resize
from inpainting.core.stack import Layer, lay, touches

SIZE = Size(120, 90)


def photo(mode: str = "RGB", bits: int = 8) -> CanonicalImage:
    pixels = data.chelsea()[: SIZE.height, : SIZE.width]
    if mode.startswith("L"):
        pixels = pixels[:, :, :1]
    if mode.endswith("A"):
        alpha = np.broadcast_to(np.linspace(40, 255, SIZE.width), pixels.shape[:2])[:, :, None]
        pixels = np.concatenate([pixels, alpha.astype(np.uint8)], axis=2)
    deep = pixels if bits == 8 else pixels.astype(np.uint16) * 257 + np.uint16(1)
    return CanonicalImage(np.ascontiguousarray(deep), icc_profile=b"a profile")


def marked(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((SIZE.height, SIZE.width), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def painted(source: CanonicalImage, mask: Mask, colour: tuple[int, int, int], blur: int = 0) -> Layer:
    """What an engine paints that fills the mask with a colour."""
    painting: NDArray[np.uint8] = np.full((SIZE.height, SIZE.width, 3), colour, np.uint8)
    result = composite(source, mask, Window(Box.whole(SIZE), SIZE), painting, blur=blur).image
    return Layer(source, result, mask, blur)


def faded(source: CanonicalImage, mask: Mask, blur: int) -> Layer:
    """The same layer for every source, without the corrections that fit a painting to what lies around it."""
    weights = Feather(mask, blur).rows(0, SIZE.height)[:, :, None]
    full = np.iinfo(source.pixels.dtype).max
    mixed = source.pixels * (1 - weights) + np.float32(full // 2) * weights
    pixels = np.where(mask[:, :, None] > 0, np.rint(mixed).astype(source.pixels.dtype), source.pixels)
    return Layer(source, CanonicalImage(pixels, source.icc_profile), mask, blur)


LEFT, RIGHT, MIDDLE = marked(10, 10, 50, 60), marked(70, 20, 110, 80), marked(40, 30, 80, 70)
IN_EVERY_FORM = pytest.mark.parametrize(
    ("mode", "bits"), [("L", 8), ("LA", 16), ("RGB", 8), ("RGB", 16), ("RGBA", 8), ("RGBA", 16)]
)


@IN_EVERY_FORM
@pytest.mark.parametrize("blur", [0, 6])
def test_a_step_over_its_own_source_is_its_result(mode: str, bits: int, blur: int) -> None:
    source = photo(mode, bits)
    layer = painted(source, LEFT, (200, 30, 30), blur)
    assert not source.equals(layer.result)
    assert lay(source, layer).equals(layer.result)


@IN_EVERY_FORM
def test_two_steps_on_one_photo_change_only_the_union_of_their_masks(mode: str, bits: int) -> None:
    source = photo(mode, bits)
    first, second = painted(source, LEFT, (200, 30, 30), 6), painted(source, MIDDLE, (30, 30, 200), 6)
    both = lay(lay(source, first), second)
    assert outside_mask_changed_pixels(source, both, np.maximum(LEFT, MIDDLE)) == 0
    assert outside_mask_changed_pixels(first.result, both, MIDDLE) == 0
    assert (both.mode, both.bits, both.icc_profile) == (mode, bits, b"a profile")
    inside = marked(60, 42, 68, 58) > 0  # far from the mask's edge
    assert np.array_equal(both.pixels[inside], second.result.pixels[inside])


@IN_EVERY_FORM
@pytest.mark.parametrize("blur", [0, 6])
def test_without_the_step_beneath_a_later_one_is_as_if_painted_without_it(mode: str, bits: int, blur: int) -> None:
    """Its fading edge shows the photo, not the colour of the step that is hidden."""
    source = photo(mode, bits)
    first = painted(source, LEFT, (200, 30, 30), blur)
    second = faded(first.result, MIDDLE, blur)
    alone, wanted = lay(source, second), faded(source, MIDDLE, blur).result
    assert outside_mask_changed_pixels(source, alone, MIDDLE) == 0
    assert np.abs(alone.pixels.astype(int) - wanted.pixels).max() <= 1  # both are rounded
    assert not wanted.equals(second.result)


def test_what_is_painted_back_shows_what_lies_beneath() -> None:
    source = photo(bits=16)
    layer = painted(source, LEFT, (200, 30, 30))
    back = marked(10, 10, 30, 60)
    back[20, 30] = 128
    partly = lay(source, Layer(layer.source, layer.result, layer.mask, painted_back=back))
    assert outside_mask_changed_pixels(source, partly, np.where(back == 255, np.uint8(0), LEFT)) == 0
    rest = (LEFT > 0) & (back == 0)
    assert np.array_equal(partly.pixels[rest], layer.result.pixels[rest])
    mixed, one, other = (image.pixels[20, 30].astype(int) for image in (partly, source, layer.result))
    assert (np.abs(mixed - (one + other) / 2) <= np.abs(one - other) * 0.01 + 1).all()


def test_an_extended_image_keeps_its_border_when_a_step_beneath_is_hidden() -> None:
    source = photo()
    first = painted(source, LEFT, (200, 30, 30))
    canvas, band, placement = extend(first.result, Outpaint(right=40))
    painting = np.full((SIZE.height, SIZE.width + 40, 3), (30, 200, 30), np.uint8)
    result = composite(canvas, band, Window(Box.whole(canvas.size), canvas.size), painting, blur=0).image
    layer = Layer(canvas, result, band, placement=placement)
    assert lay(first.result, layer).equals(CanonicalImage(result.pixels, b"a profile"))
    without = lay(source, layer)
    assert np.array_equal(without.pixels[:, : SIZE.width], source.pixels)
    assert np.array_equal(without.pixels[:, SIZE.width :], result.pixels[:, SIZE.width :])


def test_an_enlarged_image_changes_only_where_the_image_beneath_did() -> None:
    source = photo()
    first = painted(source, LEFT, (200, 30, 30))
    large = Size(2 * SIZE.width, 2 * SIZE.height)
    result = CanonicalImage(resize(first.result, large).pixels // 2 + 60, b"a profile")  # as no resampling makes it
    layer = Layer(first.result, result, np.full((SIZE.height, SIZE.width), 255, np.uint8))
    assert lay(first.result, layer) is result
    twice = LEFT.repeat(2, axis=0).repeat(2, axis=1)
    without = lay(source, layer)
    assert outside_mask_changed_pixels(result, without, twice) == 0
    inside = marked(15, 15, 45, 55).repeat(2, axis=0).repeat(2, axis=1) > 0
    assert np.array_equal(without.pixels[inside], resize(source, large).pixels[inside])


def test_a_image_of_another_size_mode_or_depth_is_refused() -> None:
    layer = painted(photo(), LEFT, (200, 30, 30))
    smaller = CanonicalImage(photo().pixels[:-1])
    for below in (photo(bits=16), photo("RGBA"), smaller):
        with pytest.raises(InvalidRequest, match="what lies beneath it has") as refused:
            lay(below, layer)
        assert refused.value.code == "step_does_not_fit"


def test_masks_touch_where_they_share_a_pixel() -> None:
    assert touches(LEFT, MIDDLE)
    assert not touches(LEFT, RIGHT)
