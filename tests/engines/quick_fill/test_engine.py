"""quick-fill is deterministic, fills every masked pixel, changes no other, and continues patterns and gradients."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Engine, Step
from inpainting.engines.quick_fill.engine import QuickFill, fill_all
from inpainting.engines.quick_fill.holes import split_mask
from tests.contracts.engine import EngineContract
from tests.support.fakes import window_plan
from tests.support.quick_fill import disc, flat_error, paint, weave
from tests.support.strategies import examples

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def coffee() -> Bytes:
    return cv2.resize(skimage.data.coffee(), (240, 160), interpolation=cv2.INTER_AREA)


class TestQuickFill(EngineContract):
    name = "quick-fill"
    cancelled_at = (1, 7, 20)

    def engine(self, folder: Path) -> tuple[Engine, ModelSpec | None]:
        return QuickFill(), None


def test_the_bytes_do_not_depend_on_the_number_of_threads(coffee: Bytes) -> None:
    mask = disc(coffee.shape, (120, 80), 26)
    threads = cv2.getNumThreads()
    several = paint(coffee, mask)[0]
    try:
        cv2.setNumThreads(1)
        alone = paint(coffee, mask)[0]
    finally:
        cv2.setNumThreads(threads)
    assert several.tobytes() == alone.tobytes()


def test_each_of_several_images_comes_from_its_own_seed(coffee: Bytes) -> None:
    mask = disc(coffee.shape, (120, 80), 40)
    first, second = paint(coffee, mask, num_images=2)
    assert first.tobytes() == paint(coffee, mask)[0].tobytes()
    assert first.tobytes() != second.tobytes()


def test_the_result_does_not_depend_on_pixels_under_the_mask(coffee: Bytes) -> None:
    mask = disc(coffee.shape, (120, 80), 26) | disc(coffee.shape, (20, 20), 2)
    other = coffee.copy()
    other[mask > 0] = (255, 0, 255)
    assert paint(coffee, mask)[0].tobytes() == paint(other, mask)[0].tobytes()


def test_a_faintly_masked_pixel_is_repainted_too() -> None:
    image = np.full((40, 40, 3), 90, np.uint8)
    image[20, 20] = 255
    mask = np.zeros((40, 40), np.uint8)
    mask[20, 20] = 1
    assert (paint(image, mask)[0] == 90).all()


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 40, 30),
        (60, 50, 96, 64),
        (0, 20, 96, 44),
        (30, 0, 60, 64),
        (50, 30, 51, 31),
        (0, 0, 1, 1),
        (0, 0, 88, 64),
    ],
)
def test_it_fills_every_masked_pixel_of_a_flat_image(box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    truth = np.empty((64, 96, 3), np.uint8)
    truth[:] = (40, 120, 200)
    mask = np.zeros((64, 96), np.uint8)
    mask[top:bottom, left:right] = 255
    image = truth.copy()
    image[mask > 0] = (255, 0, 255)
    assert np.abs(paint(image, mask)[0].astype(int) - truth).max() <= 2


def test_all_but_a_corner_masked_spreads_the_corner() -> None:
    image = np.full((120, 160, 3), 255, np.uint8)
    image[:10, :10] = (30, 60, 90)
    mask = np.full((120, 160), 255, np.uint8)
    mask[:10, :10] = 0
    painted = paint(image, mask)[0]
    assert np.abs(painted.astype(int) - (30, 60, 90)).max() <= 2


def test_a_mask_without_known_pixels_is_refused() -> None:
    with pytest.raises(EngineFailed, match="covers the whole image"):
        paint(np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 255, np.uint8))


def test_an_empty_mask_changes_nothing(coffee: Bytes) -> None:
    steps: list[Step] = []
    request = InpaintRequest(CanonicalImage(coffee), np.zeros(coffee.shape[:2], np.uint8))
    (unchanged,) = QuickFill().inpaint(window_plan(request, QuickFill()), steps.append)
    assert (unchanged == coffee).all()
    assert steps[-1].done == steps[-1].of


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_it_accepts_tiny_images_and_any_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    mask = np.where(rng.random((height, width)) < data.draw(st.floats(0, 0.99)), 255, 0).astype(np.uint8)
    if data.draw(st.booleans()):
        mask = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = 0
    painted = paint(image, mask)[0]
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    assert (painted[mask == 0] == image[mask == 0]).all()


def test_many_holes_are_all_filled() -> None:
    truth = weave(400, 600)
    mask = np.zeros(truth.shape[:2], np.uint8)
    for row in range(20, 400, 60):
        for column in range(20, 600, 80):
            cv2.circle(mask, (column, row), 9, 255, -1)
    image = truth.copy()
    image[mask > 0] = (255, 0, 255)
    painted = paint(image, mask)[0]
    assert flat_error(painted, truth, mask) < 0.2 * flat_error(
        cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA), truth, mask
    )


@pytest.mark.parametrize("wire", [True, False])
def test_wires_hairs_and_holes_within_holes_are_all_filled(*, wire: bool) -> None:
    truth = np.empty((360, 520, 3), np.uint8)
    truth[:] = (90, 140, 60)
    mask = np.zeros(truth.shape[:2], np.uint8)
    if wire:  # so long that it is filled in tiles, one of which holds nothing but a hair
        cv2.line(mask, (0, 350), (519, 110), 255, 12)
        cv2.line(mask, (40, 125), (90, 140), 255, 2)
    else:
        cv2.rectangle(mask, (40, 40), (200, 200), 255, 14)
        cv2.circle(mask, (120, 120), 15, 255, -1)
    image = truth.copy()
    image[mask > 0] = (255, 0, 255)
    assert np.abs(paint(image, mask)[0].astype(int) - truth).max() <= 2


def test_progress_never_falls_and_ends_complete(coffee: Bytes) -> None:
    steps: list[Step] = []
    mask = disc(coffee.shape, (120, 80), 26) | disc(coffee.shape, (20, 20), 2) | disc(coffee.shape, (210, 130), 12)
    request = InpaintRequest(CanonicalImage(coffee), mask, PaintSettings(num_images=3))
    list(QuickFill().inpaint(window_plan(request, QuickFill()), steps.append))
    assert len(steps) >= 20
    assert all(before.done < after.done for before, after in pairwise(steps))
    assert steps[-1].done == steps[-1].of
    assert len({step.of for step in steps}) == 1


def test_a_repeating_pattern_is_continued_better_than_by_telea() -> None:
    truth = weave(160, 200)
    mask = disc(truth.shape, (100, 80), 30)
    image = truth.copy()
    image[mask > 0] = 0
    telea = cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA)
    assert flat_error(paint(image, mask)[0], truth, mask) < 0.05 * flat_error(telea, truth, mask)


def test_a_brick_wall_is_filled_better_than_by_telea() -> None:
    truth = cv2.cvtColor(skimage.data.brick(), cv2.COLOR_GRAY2RGB)[:320, :320]
    mask = disc(truth.shape, (160, 160), 45)
    image = truth.copy()
    image[mask > 0] = 0
    telea = cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA)
    assert flat_error(paint(image, mask)[0], truth, mask) < 0.9 * flat_error(telea, truth, mask)


def test_a_gradient_continues_smoothly() -> None:
    rows, columns = np.mgrid[0:180, 0:240]
    truth = np.stack([rows, columns, 255 - (rows + columns) // 2], axis=-1).astype(np.uint8)
    mask = disc(truth.shape, (120, 90), 30)
    image = truth.copy()
    image[mask > 0] = 0
    assert flat_error(paint(image, mask)[0], truth, mask) < 5**2


def test_a_filled_hole_is_context_for_the_next_one(coffee: Bytes) -> None:
    mask = (disc(coffee.shape, (90, 80), 14) | disc(coffee.shape, (150, 80), 14)) > 0
    thin, holes = split_mask(mask)
    assert len(holes) == 2
    assert not thin.any()

    def filled(image: Bytes, unknown: NDArray[np.bool_], boxes: list[Box]) -> Bytes:
        return fill_all(image, unknown, boxes, (5, 0), True, lambda share: None)

    one = filled(coffee, mask, holes[:1])
    rest = mask.copy()
    rest[holes[0].slices] = False
    assert (filled(coffee, mask, holes) == filled(one, rest, holes)).all()


def test_a_scratch_over_a_slanted_edge_barely_overshoots() -> None:
    rows, columns = np.mgrid[0:40, 0:60]
    truth = np.where(rows + columns > 50, 200, 60).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 28:33] = 255
    painted = paint(truth, mask)[0]
    assert painted.min() >= 55  # without tension the plain biharmonic surface overshoots to 51 and 209
    assert painted.max() <= 205


def test_scratches_are_filled_at_least_as_well_as_by_navier_stokes() -> None:
    truth = skimage.data.chelsea()
    rng = np.random.default_rng(1)
    mask = np.zeros(truth.shape[:2], np.uint8)
    for _ in range(14):
        start, end = rng.integers(0, 300, 2), rng.integers(0, 300, 2)
        cv2.line(mask, (int(start[0]) + 100, int(start[1])), (int(end[0]) + 100, int(end[1])), 255, 3)
    image = truth.copy()
    image[mask > 0] = 255
    stokes = cv2.inpaint(image, mask, 3, cv2.INPAINT_NS)
    assert flat_error(paint(image, mask)[0], truth, mask) <= flat_error(stokes, truth, mask)
