"""Where an insert lies, how it is drawn there, and that a clone keeps its gradients and meets what is around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.inserting import InsertPlacement, clone, covered_part, draw, paste
from inpainting.core.request import PaintSettings
from tests.core.direct_solutions import harmonic
from tests.core.shapes import disc

PHOTO = np.ascontiguousarray(data.coffee()[100:160, 100:180])
INSERT = CanonicalImage(PHOTO)
WHOLE = Box(0, 0, 80, 60)
IN_PLACE = InsertPlacement(40, 30, 80)


def cut_out(pixels: NDArray[np.uint8], alpha: Any) -> CanonicalImage:
    plane = np.broadcast_to(np.asarray(alpha, np.uint8), pixels.shape[:2])
    return CanonicalImage(np.dstack([pixels, plane]))


def test_an_insert_of_its_own_size_is_drawn_as_it_is() -> None:
    drawn = draw(INSERT, IN_PLACE, WHOLE, WHOLE.size)
    assert np.array_equal(drawn.pixels[:, :, :3], PHOTO)
    assert (drawn.pixels[:, :, 3] == 255).all()
    alpha = np.arange(80, dtype=np.uint8) * 3
    alpha[0] = 255
    drawn = draw(cut_out(PHOTO, alpha), IN_PLACE, WHOLE, WHOLE.size)
    assert np.array_equal(drawn.pixels[:, :, 3], np.broadcast_to(alpha, (60, 80)))
    assert np.abs(drawn.pixels[:, 40:, :3].astype(int) - PHOTO[:, 40:]).max() <= 2  # rounded when multiplied by alpha


def test_beyond_its_edges_nothing_is_covered() -> None:
    drawn = draw(INSERT, InsertPlacement(50, 20, 80), WHOLE, WHOLE.size)
    assert np.array_equal(drawn.pixels[:50, 10:, :3], PHOTO[10:, :70])
    covered = np.zeros((60, 80), bool)
    covered[:50, 10:] = True
    assert np.array_equal(drawn.pixels[:, :, 3] == 255, covered)
    assert (drawn.pixels[~covered][:, 3] == 0).all()


def test_a_positive_rotation_is_clockwise() -> None:
    for degrees, turns in ((90, -1), (-90, 1), (180, 2)):
        expected = np.rot90(PHOTO, turns)
        height, width = expected.shape[:2]
        placement = InsertPlacement(width / 2, height / 2, 80, degrees)
        drawn = draw(INSERT, placement, Box(0, 0, width, height), Size(width, height))
        assert np.array_equal(drawn.pixels[:, :, :3], expected)
        assert (drawn.pixels[:, :, 3] == 255).all()


def test_half_the_size_is_the_mean_of_areas() -> None:
    expected = cv2.resize(PHOTO, (40, 30), interpolation=cv2.INTER_AREA)
    drawn = draw(INSERT, InsertPlacement(30, 25, 40), WHOLE, WHOLE.size)
    assert np.array_equal(drawn.pixels[10:40, 10:50, :3], expected)
    in_work_pixels = draw(INSERT, IN_PLACE, WHOLE, Size(40, 30))
    assert np.array_equal(in_work_pixels.pixels[:, :, :3], expected)


def test_a_part_of_the_image_gets_its_part_of_the_insert() -> None:
    placement, part = InsertPlacement(37.5, 31, 61, 20), Box(20, 10, 60, 45)
    whole = draw(INSERT, placement, WHOLE, WHOLE.size).pixels
    drawn = draw(INSERT, placement, part, part.size).pixels
    assert np.abs(whole[part.slices].astype(int) - drawn).max() <= 2


def test_colours_of_transparent_pixels_do_not_show() -> None:
    alpha = np.zeros((60, 80), np.uint8)
    alpha[:, ::2] = 255
    pixels = np.where(alpha[:, :, np.newaxis] > 0, np.uint8(200), np.array([255, 0, 0], np.uint8))
    drawn = draw(cut_out(pixels, alpha), InsertPlacement(40, 30, 40, 30), WHOLE, WHOLE.size).pixels
    shown = drawn[drawn[:, :, 3] > 60][:, :3]
    assert len(shown) > 300
    assert np.abs(shown.astype(int) - 200).max() <= 3


ROTATIONS = st.floats(-180, 180)
BOXES = st.tuples(*[st.integers(1, 30)] * 2, *[st.integers(2, 40)] * 2).map(
    lambda b: Box(b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(rotation=ROTATIONS, box=BOXES)
def test_by_default_it_covers_the_mask_and_one_with_transparent_parts_fits_into_it(rotation: float, box: Box) -> None:
    settings = PaintSettings(insert_rotation=rotation)
    placement = InsertPlacement.of(settings, INSERT, box)
    middle = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    assert (placement.x, placement.y, placement.rotation) == (*middle, rotation)
    mask = np.zeros((80, 80), np.uint8)
    mask[box.slices] = 255
    assert np.array_equal(covered_part(draw(INSERT, placement, Box(0, 0, 80, 80), Size(80, 80)), mask), mask > 0)
    fitted = InsertPlacement.of(settings, cut_out(PHOTO, 99), box)
    assert fitted.width <= placement.width
    corners = fitted.corners(INSERT.size)
    assert (corners >= [box.left - 0.5, box.top - 0.5]).all()
    assert (corners <= [box.right + 0.5, box.bottom + 0.5]).all()


@pytest.mark.parametrize("case", json.loads(Path(__file__).with_name("insert_placements.json").read_text()), ids=str)
def test_it_lies_where_the_editor_shows_it(case: dict[str, Any]) -> None:
    """The cases are also those of tests/js/insert.test.js. insert: width, height, whether it has transparent parts."""
    width, height, is_transparent = case["insert"]
    insert = CanonicalImage(np.zeros((height, width, 4 if is_transparent else 3), np.uint8))
    given = {f"insert_{name}": value for name, value in case["given"].items()}
    placement = InsertPlacement.of(PaintSettings(**given), insert, Box(*case["marked"]))
    assert [placement.x, placement.y, placement.width, placement.rotation] == case["placement"]


def test_settings_place_it() -> None:
    settings = PaintSettings(insert_x=7, insert_y=-3.5, insert_width=12)
    assert InsertPlacement.of(settings, INSERT, WHOLE) == InsertPlacement(7, -3.5, 12, 0)
    assert InsertPlacement(20, 30, 40, 0).box(INSERT.size) == Box(0, 15, 40, 45)
    assert InsertPlacement(20, 30, 40, 90).box(INSERT.size) == Box(5, 10, 35, 50)


def test_it_is_known_whether_it_meets_the_mask() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:20, 10:20] = mask[50:55, 70:75] = 1
    square, line = Size(12, 12), Size(12, 2)
    for x, y, rotation, size, meets in (
        (15, 15, 0, square, True),
        (25, 15, 0, square, True),
        (26, 15, 0, square, False),
        (26, 15, 45, square, True),
        (40, 30, 0, square, False),
        (-9, 15, 0, square, False),
        (72, 47, 0, line, False),
        (72, 47, 90, line, True),
    ):
        assert InsertPlacement(x, y, 12, rotation).meets(size, mask) == meets, (x, y, rotation)


RAMP = np.add.outer(np.arange(60), np.arange(80) * 0.5)[:, :, np.newaxis] - np.array([10, 30, 50])


@pytest.mark.parametrize("form", ["disc", "rectangle"])
def test_a_clone_keeps_its_gradients_and_meets_the_image_around_it(form: str) -> None:
    """The differences beside the mask are a plane, which is harmonic: the clone is the insert plus this plane."""
    insert = (PHOTO // 4 + 60).astype(np.uint8)
    expected = np.rint(insert + RAMP).astype(np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    if form == "disc":
        mask = disc(60, 80, 22)
    else:
        mask[10:50, 9:70] = 255
    image = np.where(mask[:, :, np.newaxis] > 0, np.uint8(255), expected)
    before = image.copy()
    drawn = draw(CanonicalImage(insert), IN_PLACE, WHOLE, WHOLE.size)
    result = clone(image, drawn, mask)
    assert np.array_equal(image, before)
    assert np.array_equal(result[mask == 0], image[mask == 0])
    assert np.abs(result.astype(int) - expected).max() <= 2
    assert np.abs(result.astype(int) - expected).mean() <= 0.5


def test_a_clone_equals_a_direct_solution() -> None:
    image, mask = np.ascontiguousarray(data.astronaut()[40:100, 180:260]), disc(60, 80, 15)
    difference, expected = image.astype(float) - PHOTO, image.copy()
    for channel in range(3):
        added = harmonic(difference[:, :, channel], mask)
        colour = np.clip(np.rint(PHOTO[:, :, channel] + added), 0, 255)
        expected[:, :, channel] = np.where(mask > 0, colour, image[:, :, channel])
    result = clone(image, draw(INSERT, IN_PLACE, WHOLE, WHOLE.size), mask)
    assert np.abs(difference[mask > 0]).max() > 100
    assert np.abs(result.astype(int) - expected)[mask > 0].mean() < 1
    assert np.abs(result.astype(int) - expected).max() <= 6


def test_what_the_insert_does_not_cover_stays() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:50, 10:70] = 255
    drawn = draw(INSERT, InsertPlacement(50, 30, 40), WHOLE, WHOLE.size)
    image = np.full((60, 80, 3), 90, np.uint8)
    result = clone(image, drawn, mask)
    left = covered_part(drawn, mask)
    assert left[15:45, 30:70].all()
    assert left.sum() == 30 * 40
    assert (result[~left] == 90).all()
    assert (result[left] != 90).any()
    nothing = draw(INSERT, InsertPlacement(-90, 30, 40), WHOLE, WHOLE.size)
    assert np.array_equal(clone(image, nothing, mask), image)


def test_an_insert_is_pasted_by_its_alpha_within_the_mask() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[:, :40] = 1
    alpha = np.full((60, 80), 51, np.uint8)
    alpha[:30] = 255
    pasted = paste(image, draw(cut_out(np.full_like(PHOTO, 200), alpha), IN_PLACE, WHOLE, WHOLE.size), mask)
    assert (pasted[:, 40:] == 100).all()
    assert (pasted[:30, :40] == 200).all()
    assert (pasted[30:, :40] == 120).all()
    assert (image == 100).all()
