"""Operations on masks, and masks as run lengths and outlines."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpainting.core import mask_formats
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import Mask
from inpainting.core.mask_operations import NAMES, Operation
from tests.support import strategies

COCO = {"size": [9, 10], "counts": "61X13mN000`0"}
"""From the documentation of COCO's masks: columns 6 and 7 of 10, of 9 rows."""


def disc(radius: int = 12) -> Mask:
    """64 x 96, a disc around (40, 30)."""
    return np.asarray(cv2.circle(np.zeros((64, 96), np.uint8), (40, 30), radius, 255, -1))


def budget() -> mask_formats.MaskBudget:
    return mask_formats.MaskBudget(10**6)


def area(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def run(mask: Mask, name: str, pixels: int | None = None, other: Mask | None = None) -> Mask:
    before = mask.copy()
    result = Operation(name, pixels).apply(mask, other)
    assert np.array_equal(mask, before)
    assert result.shape == mask.shape
    assert result.dtype == np.uint8
    return result


def test_growing_and_shrinking_move_the_edge() -> None:
    assert area(run(disc(), "grow", 5)) == pytest.approx(np.pi * 17**2, rel=0.05)
    assert area(run(disc(), "shrink", 5)) == pytest.approx(np.pi * 7**2, rel=0.05)


def test_feathering_softens_inward_alone() -> None:
    soft = run(disc(), "feather", 6)
    assert not soft[disc() == 0].any()
    assert soft[30, 40] == 255
    assert 0 < soft[30, 40 + 10] < 128


def test_smoothing_rounds_off_spikes_and_keeps_a_straight_edge() -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 40:] = 255
    assert np.array_equal(run(mask, "smooth", 4), mask)
    mask[30:32, 30:40] = 255  # a spike
    assert not run(mask, "smooth", 4)[:, :38].any()


def test_holes_are_filled_up_to_an_area_and_not_at_the_border() -> None:
    mask = disc()
    mask[29:31, 38:42] = 0  # 8 pixels
    assert np.array_equal(run(mask, "fill_holes"), disc())
    assert np.array_equal(run(mask, "fill_holes", 8), disc())
    assert np.array_equal(run(mask, "fill_holes", 7), mask)
    frame = np.full((8, 8), 255, np.uint8)
    frame[0, 3] = 0
    assert np.array_equal(run(frame, "fill_holes"), frame)
    full = np.full((8, 8), 255, np.uint8)
    assert np.array_equal(run(full, "fill_holes"), full)


def test_specks_are_removed_by_their_area() -> None:
    mask = disc()
    mask[2:4, 2:5] = 128  # 6 pixels
    assert np.array_equal(run(mask, "remove_specks", 7), disc())
    assert np.array_equal(run(mask, "remove_specks", 6), mask)
    empty = np.zeros((8, 8), np.uint8)
    assert np.array_equal(run(empty, "remove_specks", 5), empty)


def test_masks_are_combined_with_their_greys() -> None:
    mask, other = np.array([[0, 100, 255, 255]], np.uint8), np.array([[50, 60, 0, 255]], np.uint8)
    assert run(mask, "add", None, other).tolist() == [[50, 100, 255, 255]]
    assert run(mask, "subtract", None, other).tolist() == [[0, 100, 255, 0]]
    assert run(mask, "intersect", None, other).tolist() == [[0, 60, 0, 255]]
    assert run(mask, "invert").tolist() == [[255, 155, 0, 0]]


@pytest.mark.parametrize(
    ("name", "pixels", "code", "words"),
    [
        ("melt", None, "invalid", "the operations are: " + ", ".join(NAMES)),
        ("grow", None, "field_missing", "grow needs pixels"),
        ("grow", 0, "field_out_of_range", "between 1 and 256"),
        ("smooth", 65, "field_out_of_range", "between 1 and 64"),
        ("remove_specks", -1, "field_out_of_range", "remove_specks"),
    ],
)
def test_unknown_operations_and_numbers_out_of_range_are_refused(
    name: str, pixels: int | None, code: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        Operation(name, pixels)
    assert refused.value.field == "operations"
    assert code == "invalid" or refused.value.code == code


def test_a_combination_needs_a_mask_of_the_same_size() -> None:
    with pytest.raises(InvalidRequest, match="add needs a mask"):
        run(disc(), "add")
    with pytest.raises(InvalidRequest, match="10x8, the mask 96x64"):
        run(disc(), "add", None, np.zeros((8, 10), np.uint8))


@given(st.data())
def test_run_lengths_and_outlines_give_the_same_mask_back(data: st.DataObject) -> None:
    size = data.draw(strategies.sizes(24))
    drawn = data.draw(strategies.masks(size))
    mask = np.where(drawn > 0, np.uint8(255), np.uint8(0))
    lengths = mask_formats.run_lengths(mask)
    assert mask_formats.decompress_run_lengths(mask_formats.compress_run_lengths(lengths), budget()) == lengths
    assert np.array_equal(mask_formats.mask_of_run_lengths(lengths, size), mask)
    rings = mask_formats.outlines(mask)
    assert np.array_equal(mask_formats.fill_outlines(rings, size, budget()), mask)
    read = mask_formats.rings_of_path(mask_formats.svg_path(rings), budget())
    assert np.array_equal(mask_formats.fill_outlines(read, size, budget()), mask)


def test_the_compressed_text_is_cocos() -> None:
    lengths = mask_formats.decompress_run_lengths(str(COCO["counts"]), budget())
    mask = mask_formats.mask_of_run_lengths(lengths, Size(10, 9))
    assert mask_formats.compress_run_lengths(mask_formats.run_lengths(mask)) == COCO["counts"]


def test_a_hole_is_an_outline_of_its_own() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 1:6] = 255
    mask[2:4, 3:4] = 0
    rings = mask_formats.outlines(mask)
    assert mask_formats.svg_path(rings) == "M1 1L6 1L6 5L1 5Z M3 2L4 2L4 4L3 4Z"


@pytest.mark.parametrize(
    "path",
    ["M1 1 L6 1 6,5 1 5 Z", "m1 1h5v4h-5z", "M1,1H6V5H1", "M1 1 6 1 6 5 1 5", "M 10e-1 1 l5 0 0 4 -5 0z"],
)
def test_straight_paths_are_read_however_they_are_written(path: str) -> None:
    mask = mask_formats.fill_outlines(mask_formats.rings_of_path(path, budget()), Size(8, 6), budget())
    expected = np.zeros((6, 8), np.uint8)
    expected[1:5, 1:6] = 255
    assert np.array_equal(mask, expected)


def test_an_outline_may_leave_the_image() -> None:
    mask = mask_formats.fill_outlines(mask_formats.rings_of_path("M-5 -5H3V20H-5Z", budget()), Size(8, 6), budget())
    assert mask[:, :3].all()
    assert not mask[:, 3:].any()


@pytest.mark.parametrize(
    "path", ["M1 1C2 2 3 3 4 4", "L1 1", "M1", "1 2", "M1 1L2 2 3", "M1 1Z5", "M1 1L2 x", "Z", "M"]
)
def test_curves_and_malformed_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidRequest, match="straight lines"):
        mask_formats.rings_of_path(path, budget())


@pytest.mark.parametrize("path", ["M1 1L1e9 1", "M1 1L1e400 1"])
def test_coordinates_far_away_are_refused(path: str) -> None:
    with pytest.raises(InvalidRequest, match="between -1000000 and 1000000"):
        mask_formats.rings_of_path(path, budget())


@pytest.mark.parametrize("text", ["~~~", "P", "PPPPPPPPPPPPPPPPPPPP0", "\u20ac", "1 1"])
def test_texts_that_are_not_cocos_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="COCO"):
        mask_formats.decompress_run_lengths(text, budget())


@pytest.mark.parametrize("lengths", [[], [5], [90, -1, 1], [10**30], [True], ["90"], [45.0, 45.0], [91]])
def test_counts_that_do_not_add_up_are_refused(lengths: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match="add up to 90"):
        mask_formats.mask_of_run_lengths(lengths, Size(10, 9))


def test_after_a_closed_outline_the_next_one_begins_at_its_start() -> None:
    rings = mask_formats.rings_of_path("M0 0L10 0L10 10ZL5 5L0 5", budget())
    assert [ring.tolist() for ring in rings] == [[[0, 0], [10, 0], [10, 10]], [[0, 0], [5, 5], [0, 5]]]


def test_noise_has_too_many_runs() -> None:
    noise = np.zeros((1000, 4001), np.uint8)
    noise[::2] = 255
    with pytest.raises(InvalidRequest, match="runs; at most 2000000") as refused:
        mask_formats.run_lengths(noise)
    assert refused.value.code == "mask_too_complex"
    with pytest.raises(InvalidRequest, match="2000001 runs; at most 2000000"):
        mask_formats.decompress_run_lengths("1" * (mask_formats.MAX_RUNS + 1), budget())


def test_noise_has_too_many_corners() -> None:
    noise = np.where(np.random.default_rng(0).random((600, 600)) < 0.5, np.uint8(255), np.uint8(0))
    with pytest.raises(InvalidRequest, match="corners") as refused:
        mask_formats.outlines(noise)
    assert refused.value.code == "mask_too_complex"


def test_outlines_that_cross_too_many_rows_are_refused() -> None:
    zigzag = [(float(index % 8), 4000.0 * (index % 2)) for index in range(4000)]
    with pytest.raises(InvalidRequest, match="rows crossed"):
        mask_formats.fill_outlines(mask_formats.check_rings([zigzag]), Size(8, 4000), budget())


@pytest.mark.parametrize("part", ["Z", "ZM0 0", "h1", "M0 0", "1 ", ".1"])
def test_an_outline_is_counted_before_it_is_parsed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ("M0 0" + part * (4 * mask_formats.MAX_CORNERS))[: mask_formats.MAX_PATH_CHARACTERS]
    monkeypatch.setattr(mask_formats, "_TOKEN", None)  # parsing would fail
    with pytest.raises(InvalidRequest, match=r"at most [48]00000 are allowed") as refused:
        mask_formats.rings_of_path(path, budget())
    assert refused.value.code == "mask_too_complex"


def test_the_largest_outline_that_is_written_is_read_again() -> None:
    mask = np.zeros((450, 449), np.uint8)
    mask[::2, ::2] = 255
    rings = mask_formats.outlines(mask[:444, :])
    assert mask_formats.MAX_CORNERS - 500 < 4 * len(rings) <= mask_formats.MAX_CORNERS
    read = mask_formats.rings_of_path(mask_formats.svg_path(rings), budget())
    assert len(read) == len(rings)


def test_masks_that_share_a_budget_are_refused_together() -> None:
    shared, path = budget(), "M0 0" + "Z" * (2 * mask_formats.MAX_CORNERS - 2)
    mask_formats.rings_of_path(path, shared)
    with pytest.raises(InvalidRequest, match="masks of the request"):
        mask_formats.rings_of_path("M0 0ZZ", shared)
