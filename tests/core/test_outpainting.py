"""Outpainting: the size of the canvas, the place of the source image, and its own pixels bit for bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.outpainting import Anchor, Fit, Outpaint, extend, outpaint_from
from tests.support.strategies import images, sizes

SIDES = st.integers(0, 40)
SIZES = sizes(60)


@given(SIZES.flatmap(images), SIDES, SIDES, SIDES, SIDES, st.booleans())
def test_pixels_are_added_to_the_sides_and_the_source_keeps_its_own(
    image: CanonicalImage, left: int, top: int, right: int, bottom: int, is_masked: bool
) -> None:
    outpaint = Outpaint(left=left, top=top, right=right, bottom=bottom)
    width, height = image.size.width, image.size.height
    inside = np.full((height, width), 7, np.uint8) if is_masked else None
    if not (left or top or right or bottom or is_masked):
        with pytest.raises(InvalidRequest, match="Nothing to outpaint"):
            extend(image, outpaint, inside)
        return

    canvas, mask, placement = extend(image, outpaint, inside)

    assert canvas.size == placement.canvas == Size(left + width + right, top + height + bottom)
    assert placement.box == Box(left, top, left + width, top + height)
    assert (canvas.bits, canvas.mode, canvas.icc_profile) == (image.bits, image.mode, image.icc_profile)
    assert np.array_equal(canvas.pixels[placement.box.slices], image.pixels)
    expected = np.full(mask.shape, 255)
    expected[top : top + height, left : left + width] = 7 if is_masked else 0
    assert np.array_equal(mask, expected)


@given(SIZES, SIZES, st.sampled_from(Anchor), st.sampled_from([None, *Fit]))
def test_a_size_holds_the_source_in_its_ratio(source: Size, canvas: Size, anchor: Anchor, fit: Fit | None) -> None:
    placement = Outpaint(size=str(canvas), anchor=anchor.value, fit=fit and fit.value).placement(source)

    placed = placement.box.size
    assert placement.canvas == canvas
    assert Box.whole(canvas).contains(placement.box)
    fits = source.width <= canvas.width and source.height <= canvas.height
    if fits and fit is not Fit.CONTAIN:
        assert placed == source
    else:
        assert placed.width == canvas.width or placed.height == canvas.height
        scale = min(Fraction(canvas.width, source.width), Fraction(canvas.height, source.height))
        assert abs(placed.width - source.width * scale) < 1
        assert abs(placed.height - source.height * scale) < 1
    left, right = placement.box.left, canvas.width - placement.box.right
    top, bottom = placement.box.top, canvas.height - placement.box.bottom
    if "left" in anchor:
        assert left == 0
    elif "right" in anchor:
        assert right == 0
    else:
        assert 0 <= right - left <= 1
    if "top" in anchor:
        assert top == 0
    elif "bottom" in anchor:
        assert bottom == 0
    else:
        assert 0 <= bottom - top <= 1


@given(SIZES, st.integers(1, 20), st.integers(1, 20))
def test_a_ratio_adds_to_one_axis_alone_and_never_scales(source: Size, across: int, down: int) -> None:
    placement = Outpaint(ratio=f"{across}:{down}").placement(source)

    canvas = placement.canvas
    assert not placement.is_scaled
    assert canvas.width == source.width or canvas.height == source.height
    assert abs(canvas.width * down - canvas.height * across) <= max(across, down)


def test_a_ratio_may_have_decimals() -> None:
    assert Outpaint(ratio="1.91:1").placement(Size(100, 100)).canvas == Size(191, 100)


def test_a_scaled_source_keeps_the_colours_beside_transparent_pixels() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = 255

    canvas, mask, placement = extend(CanonicalImage(pixels), Outpaint(size="9x3"))

    assert placement.box == Box(3, 0, 6, 3)
    part = canvas.pixels[placement.box.slices]
    assert part[part[:, :, 3] > 0][:, :3].min() == 255
    assert mask[placement.box.slices].max() == 0


def test_a_mask_is_scaled_and_placed_with_the_source() -> None:
    inside = np.zeros((40, 40), np.uint8)
    inside[0, 0] = 255

    _, mask, placement = extend(CanonicalImage(np.zeros((40, 40, 3), np.uint8)), Outpaint(size="30x20"), inside)

    part = mask[placement.box.slices]
    assert part[0, 0] == 255
    assert np.count_nonzero(part) == 1


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"left": 5, "size": "64x64"}, "outpaint_size", "outpaint_left and outpaint_size contradict"),
        ({"bottom": 5, "ratio": "1:1"}, "outpaint_ratio", "outpaint_bottom and outpaint_ratio contradict"),
        ({"size": "64x64", "ratio": "1:1"}, "outpaint_ratio", "outpaint_size and outpaint_ratio contradict"),
        ({"left": 5, "anchor": "top"}, "outpaint_anchor", "no effect without outpaint_size or outpaint_ratio"),
        ({"ratio": "1:1", "fit": "contain"}, "outpaint_fit", "no effect without outpaint_size"),
        ({"size": "64"}, "outpaint_size", "such as 1536x1024"),
        ({"size": "0x64"}, "outpaint_size", "such as 1536x1024"),
        ({"ratio": "16/9"}, "outpaint_ratio", "such as 16:9"),
        ({"ratio": "0:9"}, "outpaint_ratio", "such as 16:9"),
        ({"size": "64x64", "anchor": "middle"}, "outpaint_anchor", "there are: center"),
        ({"size": "64x64", "fit": "cover"}, "outpaint_fit", "there are: scale_down, contain"),
        ({"left": -1}, "outpaint_left", "between 0 and 16384"),
    ],
)
def test_it_refuses_fields_that_are_malformed_or_contradict(
    values: dict[str, int | str], field: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as refused:
        outpaint_from({f"outpaint_{name}": value for name, value in values.items()})
    assert refused.value.field == field


def test_a_request_without_its_fields_asks_for_no_canvas() -> None:
    assert outpaint_from({"outpaint_left": 0, "outpaint_size": "", "prompt": "a lake"}) is None


@pytest.mark.parametrize(
    ("depth", "outpaint", "limit"),
    [
        (np.uint8, Outpaint(size="8193x1"), "8192 a side and 40 megapixels"),
        (np.uint8, Outpaint(left=8000, top=8000), "8192 a side and 40 megapixels"),
        (np.uint16, Outpaint(size="5000x5000"), "8192 a side and 20 megapixels"),
        (np.uint8, Outpaint(ratio="9999:0.0001"), "8192 a side and 40 megapixels"),
    ],
)
def test_the_limits_of_images_hold_for_the_canvas(depth: type, outpaint: Outpaint, limit: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        extend(CanonicalImage(np.zeros((8, 8, 3), depth)), outpaint)
    assert (refused.value.code, refused.value.limit, refused.value.field) == ("image_dimensions", limit, outpaint.field)
