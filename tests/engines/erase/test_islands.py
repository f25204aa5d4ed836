"""Islands: together they are the mask, near ones share a window, long ones are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from inpainting.engines.erase.islands import split
from tests.strategies import masks, sizes

SIDE = 512


def canvas(*marked: tuple[slice, slice]) -> NDArray[np.bool_]:
    mask = np.zeros((1000, 1400), bool)
    for place in marked:
        mask[place] = True
    return mask


@given(sizes(80).flatmap(masks))
def test_every_marked_pixel_has_one_island_whose_box_holds_it(mask: NDArray[np.uint8]) -> None:
    islands = split(mask > 0, 16)
    assert np.array_equal(islands.owner > 0, mask > 0)
    for number, box in enumerate(islands.boxes, start=1):
        inside = np.zeros_like(mask, bool)
        inside[box.slices] = True
        mine = islands.owner == number
        assert mine.any()
        assert not (mine & ~inside).any()


@pytest.mark.parametrize(
    ("marked", "count"),
    [
        ([np.s_[10:20, 10:20], np.s_[60:90, 150:200]], 1),  # specks of one tile share a window
        ([np.s_[10:20, 10:20], np.s_[800:820, 900:950]], 2),
        ([np.s_[100:400, 100:400], np.s_[100:400, 410:700]], 1),  # a hair's breadth apart
        ([np.s_[100:400, 100:400], np.s_[100:400, 450:750]], 2),
        ([np.s_[100:900, 100:900]], 1),  # large, and scaled
        ([np.s_[500:503, :]], 6),  # a wire across the picture, seen at its own scale
    ],
)
def test_how_many_windows_a_mask_takes(marked: list[tuple[slice, slice]], count: int) -> None:
    assert len(split(canvas(*marked), SIDE).boxes) == count
