"""The regions cover the mask; nearby components share a region, long ones are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from inpainting.engines.erase.mask_regions import split_into_regions
from tests.support.strategies import masks, sizes

SIDE = 512


def canvas(*marked: tuple[slice, slice]) -> NDArray[np.bool_]:
    mask = np.zeros((1000, 1400), bool)
    for place in marked:
        mask[place] = True
    return mask


@given(sizes(80).flatmap(masks))
def test_every_masked_pixel_belongs_to_one_region_inside_its_box(mask: NDArray[np.uint8]) -> None:
    regions = split_into_regions(mask > 0, 16)
    assert np.array_equal(regions.labels > 0, mask > 0)
    for number, box in enumerate(regions.boxes, start=1):
        inside = np.zeros_like(mask, bool)
        inside[box.slices] = True
        mine = regions.labels == number
        assert mine.any()
        assert not (mine & ~inside).any()


@pytest.mark.parametrize(
    ("marked", "count"),
    [
        ([np.s_[10:20, 10:20], np.s_[60:90, 150:200]], 1),  # specks of one tile share a window
        ([np.s_[10:20, 10:20], np.s_[800:820, 900:950]], 2),
        ([np.s_[200:210, 200:210], np.s_[300:310, 300:310]], 1),  # of two tiles, and seen whole by one window
        ([np.s_[100:400, 100:400], np.s_[100:400, 410:700]], 1),  # ten pixels apart
        ([np.s_[100:400, 100:400], np.s_[100:400, 450:750]], 2),
        ([np.s_[100:900, 100:900]], 1),  # large: the window is scaled
        ([np.s_[500:503, :]], 6),  # a wire across the image, cut into tiles
        ([np.s_[300:303, :], np.s_[400:403, :]], 6),  # two wires, parts of which lie in the same tiles
        ([np.s_[100:500, 100:200], np.s_[100:300, 900:950]], 2),
    ],
)
def test_the_number_of_regions_of_a_mask(marked: list[tuple[slice, slice]], count: int) -> None:
    assert len(split_into_regions(canvas(*marked), SIDE).boxes) == count


def test_very_many_regions_are_joined_into_fewer_that_cover_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lines side by side, each longer than a tile and not long enough to be cut."""
    mask = canvas(
        *[np.s_[top : top + 1, left : left + 40] for top in range(10, 1000, 30) for left in range(10, 1350, 60)]
    )
    monkeypatch.setattr("inpainting.engines.erase.mask_regions.MAX_REGIONS", 1000)
    assert len(split_into_regions(mask, 64).boxes) > 400
    monkeypatch.setattr("inpainting.engines.erase.mask_regions.MAX_REGIONS", 100)
    regions = split_into_regions(mask, 64)
    assert len(regions.boxes) <= 100
    assert np.array_equal(regions.labels > 0, mask)
