"""The safety checker's crops hold every repainted pixel, large enough."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inpainting.core.geometry import Box
from inpainting.core.image import Mask
from inpainting.core.masks import nonempty_bounds
from inpainting.core.moderation.crops import FEW, MAX_ACROSS, checker_crops
from tests.support.strategies import SEEDS, masks, sizes


@st.composite
def large_masks(draw: st.DrawFn) -> Mask:
    """Components of all sizes in an image too large for one crop, a diagonal line, many specks."""
    rng = np.random.default_rng(draw(SEEDS))  # of sizes and counts too: drawn ones would be the least mostly
    height, width = rng.integers(1100, 2300, 2)
    mask = np.zeros((height, width), np.uint8)
    largest = draw(st.integers(4, 10))
    for _ in range(rng.integers(1, 40)):
        x, y, side = rng.integers(width), rng.integers(height), int(2 ** rng.uniform(0, largest))
        mask[y : y + side, x : x + rng.integers(1, side + 1)] = rng.integers(1, 256)
    if draw(st.booleans()):
        cv2.line(mask, (0, 0), (width - 1, height - 1), 255, 1)
    if draw(st.booleans()):
        mask[rng.random(mask.shape) < 0.001] = 255
    return mask


def smallest(boxes: Iterable[Box], mask: Mask) -> NDArray[np.int64]:
    """The side of the smallest crop that each pixel is in."""
    sides = np.full(mask.shape, 10**6)
    for box in boxes:
        sides[box.slices] = np.minimum(sides[box.slices], box.size.longer)
    return sides


@settings(max_examples=50)
@given(sizes(90).flatmap(masks))
def test_the_crops_are_squares_of_the_image_that_hold_every_repainted_pixel(mask: Mask) -> None:
    height, width = mask.shape
    boxes = checker_crops(mask)
    for box in boxes:
        assert box.size.width == box.size.height or 2 * max(mask.shape) > MAX_ACROSS * min(mask.shape)
        assert Box(0, 0, width, height).contains(box)
    assert (smallest(boxes, mask)[mask > 0] < 10**6).all()
    assert len(boxes) <= MAX_ACROSS + FEW


@settings(max_examples=15, deadline=None)
@given(large_masks(), st.sampled_from([0.5, 1.0, 1.7]))
def test_no_repainted_pixel_is_shown_smaller_than_guaranteed(mask: Mask, grain: float) -> None:
    boxes, unit = checker_crops(mask, grain), round(64 * max(1.0, grain)) / 64
    assert (smallest(boxes, mask)[mask > 0] <= 1024 * unit).all()
    assert len(boxes) <= 165
    _, _, found, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    components = [Box(x, y, x + width, y + height) for x, y, width, height, _ in found[1:].tolist()]
    for component in components[:60]:
        sides = [box.size.longer for box in boxes if box.contains(component)]
        if component.size.longer < 512 and min(mask.shape) >= 1024:
            assert sides, f"no crop holds the whole of {component}"
            assert min(sides) <= 1024 * unit
            if len(components) < FEW and all(other.size.longer < 512 for other in components):
                assert min(sides) <= max(8 * component.size.longer, 256 * unit)


def test_a_crop_holds_the_surroundings_and_nothing_far_away() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[400:500, 300:400] = 255
    (box,) = checker_crops(mask)
    assert (box.left, box.top, box.right, box.bottom) == (250, 350, 450, 550)


def test_a_distant_dot_does_not_shrink_the_rest() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[400:500, 300:400] = mask[998:, 998:] = 255
    boxes = checker_crops(mask)
    assert any(box.contains(nonempty_bounds(mask)) for box in boxes)
    assert any(box.size.width == 200 and box.left == 250 for box in boxes)
    assert len(boxes) == 3


@pytest.mark.parametrize("decoys", [8, 15, 60])
def test_many_larger_components_do_not_make_the_smallest_ones_crop_larger(decoys: int) -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    for number in range(decoys + 1):
        row, column = divmod(number, 8)
        side = 205 if number < decoys else 200
        mask[20 + 370 * row :, 20 + 370 * column :][:side, :side] = 255
    sides = smallest(checker_crops(mask), mask)[mask > 0]
    assert sides.max() <= (410 if decoys < FEW else 1024)


def test_a_thin_bridge_does_not_shrink_the_components_it_joins() -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    mask[2700:2900, 2700:2900] = mask[100, 100:2800] = mask[100:2800, 2800] = 255
    boxes = checker_crops(mask)
    assert smallest(boxes, mask)[mask > 0].max() <= 1024
    assert any(box.size.width <= 1024 and box.contains(Box(2700, 2700, 2900, 2900)) for box in boxes)


@pytest.mark.parametrize("every", [8, 64, 301])
def test_many_dots_take_a_limited_number_of_crops(every: int) -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    mask[::every, ::every] = 255
    assert len(checker_crops(mask)) <= 1 + 25
    small = np.zeros((512, 512), np.uint8)
    small[::8, ::8] = 255
    assert len(checker_crops(small)) <= 1 + FEW


@pytest.mark.parametrize("size", [(8192, 1), (1, 8192), (300, 8192), (40, 600)])
def test_a_thin_image_takes_no_more_crops(size: tuple[int, int]) -> None:
    mask = np.full(size, 255, np.uint8)
    assert len(checker_crops(mask)) <= MAX_ACROSS
    assert (smallest(checker_crops(mask), mask) < 10**6).all()


def test_a_painting_that_was_scaled_up_takes_one_crop() -> None:
    mask = np.full((3000, 3000), 255, np.uint8)
    assert len(checker_crops(mask)) == 26
    assert len(checker_crops(mask, grain=3)) == 1


def test_components_that_the_overview_shows_well_take_no_close_up() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[100:240, 100:240] = mask[260:400, 260:400] = 255
    assert len(checker_crops(mask)) == 1
