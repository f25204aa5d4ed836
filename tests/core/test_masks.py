"""Masks are read by their polarity, grown and feathered without touching kept pixels, and refused when empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.inputs import build_request
from inpainting.core.masks import (
    MaskPolarity,
    bounds,
    check,
    coverage,
    feather,
    grow,
    grown_mask,
    invert,
    is_grey,
    normalise,
    scale_mask,
    scaling_note,
)
from inpainting.core.request import PaintSettings
from tests.support.strategies import examples, masks, sizes

BLACK, WHITE, TRANSPARENT = (MaskPolarity(f"{name}_repaints") for name in ("black", "white", "transparent"))
MASKS = sizes(40).flatmap(masks)


def read(pixels: NDArray[np.uint8] | NDArray[np.uint16], polarity: MaskPolarity, size: Size | None = None) -> Mask:
    image = CanonicalImage(pixels)
    return normalise(image, polarity=polarity, size=size or image.size)


def row(*values: int, depth: type = np.uint8) -> NDArray[np.uint8]:
    """One row of pixels of one channel: [1, n, 1]."""
    return np.array(values, depth).reshape(1, -1, 1)


def test_black_repaints_or_white_does_and_grey_is_partial_in_both() -> None:
    assert read(row(0, 100, 255), BLACK).tolist() == [[255, 155, 0]]
    assert read(row(0, 100, 255), WHITE).tolist() == [[0, 100, 255]]


def test_sixteen_bits_read_as_eight() -> None:
    assert read(row(0, 100 * 257, 65535, depth=np.uint16), WHITE).tolist() == [[0, 100, 255]]


def test_colour_is_read_by_the_luminance_that_pillow_gives() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    assert np.array_equal(read(colour, WHITE), np.asarray(Image.fromarray(colour).convert("L")))
    assert read(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), WHITE).tolist() == [[76, 150, 29]]


@pytest.mark.parametrize("polarity", [BLACK, WHITE])
@pytest.mark.parametrize("grey", [0, 255])
def test_transparent_pixels_of_a_black_and_white_mask_are_kept(polarity: MaskPolarity, grey: int) -> None:
    assert read(np.array([[[grey, 0]]], np.uint8), polarity).tolist() == [[0]]


def test_a_half_transparent_mark_repaints_by_half() -> None:
    assert read(np.array([[[0, 0, 0, 128]]], np.uint8), BLACK).tolist() == [[128]]
    assert read(np.array([[[255, 255, 255, 128]]], np.uint8), WHITE).tolist() == [[128]]


def test_transparent_pixels_are_repainted_regardless_of_colour() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (1, 4, 4), np.uint8)
    pixels[0, :, 3] = 0, 55, 200, 255
    assert read(pixels, TRANSPARENT).tolist() == [[255, 200, 55, 0]]


def test_it_refuses_transparent_repaints_without_an_alpha_channel() -> None:
    with pytest.raises(InvalidRequest, match="no transparency") as refused:
        read(row(0, 255), TRANSPARENT)
    assert (refused.value.code, refused.value.field, refused.value.actual) == ("mask_has_no_alpha", "mask", "L")


def test_white_repaints_also_where_it_is_transparent_if_alpha_is_ignored() -> None:
    pixels = np.array([[[255, 255, 255, 0], [0, 0, 0, 0], [100, 100, 100, 187]]], np.uint8)
    assert read(pixels, MaskPolarity.WHITE_REPAINTS_IGNORING_ALPHA).tolist() == [[255, 0, 100]]


def test_the_transparency_of_the_image_is_its_mask(hole: NDArray[np.uint8], photo: NDArray[np.uint8]) -> None:
    image = DecodedImage(CanonicalImage(np.dstack([photo, 255 - hole])), "PNG")
    polarity = MaskPolarity.TRANSPARENT_IMAGE_REPAINTS
    request, warnings = build_request(image, None, PaintSettings(), polarity)
    assert (request.image.mode, request.has_mask, warnings) == ("RGB", True, ())
    assert np.array_equal(request.image.pixels, photo)
    assert np.array_equal(request.mask, hole)
    with pytest.raises(InvalidRequest, match="Leave out the mask"):
        build_request(image, image, PaintSettings(), polarity)
    with pytest.raises(InvalidRequest, match="no transparency") as refused:
        build_request(DecodedImage(CanonicalImage(photo), "PNG"), None, PaintSettings(), polarity)
    assert (refused.value.code, refused.value.field) == ("mask_has_no_alpha", "image")


def test_a_mask_of_another_size_is_stretched_over_the_image() -> None:
    small = np.full((2, 4, 1), 255, np.uint8)
    small[:, :1] = 0
    mask = read(small, BLACK, Size(100, 10))
    assert mask.shape == (10, 100)
    assert bounds(mask) == Box(0, 0, 25, 10)
    assert set(np.unique(mask)) == {0, 255}


@given(sizes(60).flatmap(masks), sizes(60))
@settings(max_examples=examples(100), deadline=None)
def test_scaling_adds_no_grey_and_loses_no_repainted_pixel(mask: Mask, size: Size) -> None:
    binary = np.where(mask > 0, np.uint8(255), np.uint8(0))
    result = scale_mask(binary, size)
    assert result.shape == (size.height, size.width)
    assert set(np.unique(result)) <= {0, 255}
    rows, columns = np.nonzero(binary)
    height, width = mask.shape
    # The middle of every repainted pixel falls on a repainted one.
    down = (rows + 0.5) * size.height / height
    across = (columns + 0.5) * size.width / width
    assert result[np.clip(down.astype(int), 0, size.height - 1), np.clip(across.astype(int), 0, size.width - 1)].all()


def test_a_hairline_survives_being_scaled_down() -> None:
    mask = np.zeros((400, 400), np.uint8)
    mask[:, 123] = 255
    assert (scale_mask(mask, Size(50, 50)).max(axis=1) == 255).all()
    assert coverage(scale_mask(mask, Size(50, 50))) <= 2 / 50


def test_greys_stay_soft_when_enlarged() -> None:
    ramp = np.repeat(np.linspace(0, 255, 8).astype(np.uint8)[np.newaxis], 8, axis=0)
    assert len(np.unique(scale_mask(ramp, Size(64, 64)))) > 30


def test_scaling_and_stretching_give_a_warning() -> None:
    assert scaling_note(Size(64, 64), Size(64, 64)) is None
    assert "stretched" not in (scaling_note(Size(512, 384), Size(4000, 3000)) or "")
    assert "64x64" in (scaling_note(Size(64, 64), Size(80, 60)) or "")
    assert "stretched" in (scaling_note(Size(64, 64), Size(80, 60)) or "")


def disc(mask: Mask, radius: int, least: bool) -> Mask:
    """`grow` by its definition."""
    height, width = mask.shape
    result = mask.copy()
    for y, x in np.ndindex(height, width):
        rows, columns = np.ogrid[:height, :width]
        near = mask[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2]
        result[y, x] = near.min() if least else near.max()
    return result


@given(sizes(16).flatmap(masks), st.integers(-9, 9))
@settings(max_examples=examples(60), deadline=None)
def test_growing_is_dilation_by_a_disc_and_shrinking_is_erosion(mask: Mask, pixels: int) -> None:
    before = mask.copy()
    assert np.array_equal(grow(mask, pixels), disc(mask, abs(pixels), least=pixels < 0))
    assert np.array_equal(mask, before)


def test_growing_beyond_the_image_fills_it() -> None:
    mask = np.zeros((5, 1), np.uint8)
    mask[2] = 200
    assert (grow(mask, 256) == 200).all()


@given(MASKS)
@settings(max_examples=50, deadline=None)
def test_inverting_twice_changes_nothing(mask: Mask) -> None:
    assert np.array_equal(invert(invert(mask)), mask)
    assert np.array_equal(invert(mask) == 255, mask == 0)


@given(MASKS, st.integers(0, 12))
@settings(max_examples=examples(100), deadline=None)
def test_feather_weights_are_zero_outside_and_never_exceed_the_mask(mask: Mask, width: int) -> None:
    weights = feather(mask, width)
    assert weights.dtype == np.float32
    assert (weights[mask == 0] == 0).all()
    assert (weights >= 0).all()
    assert (weights <= mask / np.float32(255) + 1e-6).all()


def test_feather_weights_rise_inward_and_are_one_from_the_width_on() -> None:
    mask = np.zeros((41, 41), np.uint8)
    mask[5:36, 5:36] = 255
    profile = feather(mask, 8)[20, 5:21]
    assert (np.diff(profile) >= 0).all()
    assert 0 < profile[0] < 0.1
    assert profile[7] < 1
    assert (profile[8:] == 1).all()


def test_the_middle_of_a_scratch_has_full_weight_under_a_wide_feather() -> None:
    mask = np.zeros((40, 80), np.uint8)
    mask[5:8, 5:60] = 255  # a scratch
    mask[15:40, 20:60] = 255  # and an object
    weights = feather(mask, 10)
    assert (weights[6, 10:50] == 1).all()
    assert 0 < weights[15, 40] < 0.05


def test_the_images_border_is_no_edge_to_fade_from() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[:, :20] = 255
    assert (feather(mask, 5)[:, :10] == 1).all()
    assert (feather(np.full((9, 9), 255, np.uint8), 5) == 1).all()


def test_feather_weights_are_multiplied_by_grey_values() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[5:25, 5:25] = 51
    assert feather(mask, 3)[15, 15] == pytest.approx(0.2)
    assert feather(mask, 0)[5, 5] == pytest.approx(0.2)


def test_bounds_and_coverage_count_every_pixel_above_zero() -> None:
    mask = np.zeros((10, 20), np.uint8)
    assert bounds(mask) is None
    assert coverage(mask) == 0
    mask[3, 4] = 1
    mask[7, 15] = 255
    assert bounds(mask) == Box(4, 3, 16, 8)
    assert coverage(mask) == 2 / 200
    assert is_grey(mask)
    assert not is_grey(invert(np.zeros((3, 3), np.uint8)))


def test_it_refuses_an_empty_mask_and_proposes_to_invert_it() -> None:
    with pytest.raises(InvalidRequest, match=r"Nothing to repaint.*invert it") as refused:
        check(np.zeros((4, 4), np.uint8))
    assert (refused.value.code, refused.value.field) == ("mask_empty", "mask")


def test_a_mask_that_leaves_little_context_gives_a_warning_with_its_coverage() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:6] = 255
    assert check(mask) == ()
    mask[6, 0] = 1
    assert "61 %" in check(mask)[0]
    mask[:] = 255
    assert "covers 100 % of the image" in check(mask)[0]


def test_a_nearly_full_mask_is_not_reported_as_full() -> None:
    mask = np.full((100, 100), 255, np.uint8)
    mask[0, 0] = 0
    assert "99.9 %" in check(mask)[0]


def test_the_effective_mask_is_the_grown_one() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 255
    assert np.array_equal(grown_mask(mask, PaintSettings()), mask)
    assert coverage(grown_mask(mask, PaintSettings(mask_grow=1))) == 5 / 81


def test_it_refuses_to_shrink_a_mask_to_nothing() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 255
    with pytest.raises(InvalidRequest, match="shrinking the mask by 2 pixels") as refused:
        grown_mask(mask, PaintSettings(mask_grow=-2))
    assert refused.value.code == "mask_empty"
