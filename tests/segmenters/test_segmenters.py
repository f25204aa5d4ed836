"""What every segmenter guarantees, and how well GrabCut selects objects in photos."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.segmenters import grabcut, registry
from inpainting.segmenters.base import MAX_POINTS, Point, Segmenter, Selection, box_around, candidates_of

EVERY = pytest.mark.parametrize("segmenter", registry.segmenters().values(), ids=lambda segmenter: segmenter.name)
GRABCUT = registry.find("grabcut")
PLATE = [
    *([80, 215], [95, 175], [125, 140], [165, 112], [172, 60], [185, 35], [215, 20], [270, 14], [330, 18], [380, 40]),
    *([400, 65], [425, 62], [415, 115], [445, 140], [470, 185], [478, 225], [465, 285], [430, 335], [375, 370]),
    *([300, 385], [225, 380], [160, 355], [115, 315], [88, 265]),
]
"""The cup with its saucer and spoon in skimage's photo of a coffee, drawn by hand."""
ROCKET = [[312, 425], [312, 145], [320, 133], [330, 145], [332, 425]]
"""The rocket in skimage's photo of one."""


def polygon(points: list[list[int]], size: Size) -> Mask:
    drawn = np.zeros((size.height, size.width), np.uint8)
    cv2.fillPoly(drawn, [np.array(points)], 255)
    return drawn


def overlap(found: Mask, wanted: Mask) -> float:
    """Intersection over union."""
    return float(np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted))


def coin() -> Mask:
    drawn = np.zeros((303, 384), np.uint8)
    cv2.circle(drawn, (346, 187), 31, 255, -1)
    return drawn


def grey(pixels: NDArray[Any]) -> CanonicalImage:
    return CanonicalImage(pixels[:, :, np.newaxis])


def test_a_box_selects_the_object_in_it() -> None:
    photo = CanonicalImage(data.coffee())
    found = GRABCUT.segment(photo, Selection(box=Box(70, 10, 490, 390)))
    assert overlap(found, polygon(PLATE, photo.size)) > 0.9
    assert not found[:, 500:].any()


def test_an_object_is_selected_in_a_box_whether_or_not_it_fills_the_corners() -> None:
    photo = np.full((200, 260, 3), (70, 110, 70), np.uint8)
    photo[:, :130] = (90, 70, 150)  # of two colours, each of which is also in a corner of the box
    disc = photo.copy()
    cv2.circle(disc, (130, 100), 60, (220, 200, 60), -1)
    box = Box(70, 40, 191, 161)
    wanted = np.where((disc == (220, 200, 60)).all(axis=2), np.uint8(255), np.uint8(0))
    assert overlap(GRABCUT.segment(CanonicalImage(disc), Selection(box=box)), wanted) > 0.97
    photo[box.slices] = (220, 200, 60)
    assert (GRABCUT.segment(CanonicalImage(photo), Selection(box=box))[box.slices] > 0).mean() > 0.97


def test_the_corners_of_a_box_are_the_last_place_where_its_object_is_looked_for() -> None:
    labels = grabcut.labels_of_box(Box(20, 10, 60, 50), 0.5, Size(40, 30))
    assert (labels[15, 20], labels[15, 10], labels[6, 11]) == (cv2.GC_PR_FGD, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    assert np.array_equal(labels == cv2.GC_BGD, polygon([[10, 5], [29, 5], [29, 24], [10, 24]], Size(40, 30)) == 0)


def test_a_rough_outline_is_snapped_to_the_edges_of_the_object() -> None:
    photo = CanonicalImage(data.coffee())
    wanted = polygon(PLATE, photo.size)
    rough = [[x + 14 * (1 if x > 290 else -1), y + 14 * (1 if y > 200 else -1)] for x, y in PLATE]
    found = GRABCUT.segment(photo, Selection(outline=tuple((float(x), float(y)) for x, y in rough)))
    assert overlap(found, wanted) > max(0.93, overlap(polygon(rough, photo.size), wanted) + 0.05)


def test_an_outline_outside_the_image_or_with_too_many_corners_is_refused() -> None:
    photo = CanonicalImage(data.coffee())
    with pytest.raises(InvalidRequest, match="outside the image"):
        GRABCUT.segment(photo, Selection(outline=((700.0, 10.0), (800.0, 10.0), (800.0, 90.0))))
    with pytest.raises(InvalidRequest, match="three corners"):
        Selection(outline=((1.0, 1.0), (2.0, 2.0)))
    with pytest.raises(InvalidRequest, match="at most 1000"):
        Selection(outline=((1.0, 1.0),) * 1001)
    far = ((-1e300, -1e300), (1e300, -1e300), (1e300, 1e300))
    assert GRABCUT.segment(photo, Selection(outline=far)).shape == (400, 600)


def test_a_click_selects_the_object_under_it() -> None:
    assert overlap(GRABCUT.segment(grey(data.coins()), Selection((Point(325, 180),))), coin()) > 0.85


def test_further_clicks_add_the_other_parts_of_the_object() -> None:
    photo, wanted = CanonicalImage(data.coffee()), polygon(PLATE, Size(600, 400))
    clicks = [Point(300, 90), Point(150, 250), Point(300, 330), Point(430, 230), Point(200, 60)]
    overlaps = [overlap(GRABCUT.segment(photo, Selection(tuple(clicks[:count]))), wanted) for count in (1, 3, 5)]
    assert overlaps == sorted(overlaps)
    assert overlaps[-1] > 0.8


def test_a_click_beside_the_object_takes_away_the_part_around_it() -> None:
    photo = np.full((80, 160, 3), 60, np.uint8)
    photo[20:60, 20:80], photo[20:60, 80:140] = (250, 220, 40), (240, 210, 60)  # nearly the same
    both = GRABCUT.segment(CanonicalImage(photo), Selection((Point(40, 40), Point(120, 40))))
    assert both[40, 30] == both[40, 130] == 255
    one = GRABCUT.segment(CanonicalImage(photo), Selection((Point(40, 40), Point(120, 40, is_object=False))))
    assert (one[40, 30], one[40, 130]) == (255, 0)


def test_a_click_beside_the_object_takes_away_what_the_box_has_too_much() -> None:
    photo, box = CanonicalImage(data.rocket()), Box(290, 60, 355, 425)
    beside = tuple(Point(x, y, is_object=False) for x in (296, 348) for y in (380, 400, 415))
    found = GRABCUT.segment(photo, Selection((Point(322, 250), *beside), box))
    assert overlap(found, polygon(ROCKET, photo.size)) > 0.7
    assert all(found[int(point.y), int(point.x)] == 0 for point in beside)


def test_of_several_pieces_those_with_a_point_are_selected() -> None:
    two = np.full((80, 160, 3), 60, np.uint8)
    two[20:60, 20:60] = two[20:60, 100:140] = (250, 220, 40)
    box = Box(10, 10, 150, 70)
    assert np.count_nonzero(GRABCUT.segment(CanonicalImage(two), Selection(box=box))) == 2 * 40 * 40
    found = GRABCUT.segment(CanonicalImage(two), Selection((Point(40, 40),), box))
    assert found[:, 80:].max() == 0
    assert np.count_nonzero(found) == 40 * 40


def test_a_small_object_in_a_large_photo_keeps_its_edges() -> None:
    large = np.full((3000, 4000, 3), 90, np.uint8)
    cv2.circle(large, (3111, 2222), 60, (200, 30, 30), -1)
    wanted = np.all(large == (200, 30, 30), axis=2).astype(np.uint8) * 255
    for selection in (Selection((Point(3100, 2200),)), Selection(box=Box(3030, 2140, 3190, 2300))):
        assert overlap(GRABCUT.segment(CanonicalImage(large), selection), wanted) > 0.95


@EVERY
def test_a_mask_is_binary_of_the_images_size_and_the_same_each_time(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(3)
    depths = ((np.uint8, 1), (np.uint8, 4), (np.uint16, 2), (np.uint16, 3))
    for dtype, channels in depths:
        photo = CanonicalImage(rng.integers(0, np.iinfo(dtype).max, (30, 50, channels), dtype))
        for selection in (Selection(box=Box(10, 5, 30, 25)), Selection((Point(50, 30), Point(0, 0, is_object=False)))):
            found = segmenter.segment(photo, selection)
            assert found.shape == (30, 50)
            assert found.dtype == np.uint8
            assert set(np.unique(found)) <= {0, 255}
            assert np.array_equal(found, segmenter.segment(photo, selection))


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_images_are_segmented(segmenter: Segmenter, size: tuple[int, int]) -> None:
    photo = CanonicalImage(np.arange(size[0] * size[1] * 3).reshape(*size, 3).astype(np.uint8))
    for selection in (Selection(box=Box(0, 0, 1, 1)), Selection((Point(0.5, 0.5),)), Selection((Point(0, 0),))):
        assert segmenter.segment(photo, selection).shape == size


def test_a_segmenter_refuses_a_selection_without_the_object_and_hints_that_it_does_not_read() -> None:
    photo = CanonicalImage(data.coffee())
    with pytest.raises(
        InvalidRequest, match=r"send a point on it, or a box around it, or a rough outline of it\."
    ) as refused:
        candidates_of(GRABCUT, photo, Selection((Point(3, 3, is_object=False),)))
    assert (refused.value.code, refused.value.field) == ("field_missing", "points")
    with pytest.raises(InvalidRequest, match="grabcut does not read words; it reads: box, outline, points"):
        candidates_of(GRABCUT, photo, Selection((Point(3, 3),), words="cup"))


@pytest.mark.parametrize("count", [MAX_POINTS + 1, 10_000])
def test_a_selection_has_few_points_and_words(count: int) -> None:
    with pytest.raises(InvalidRequest, match="at most 100"):
        Selection((Point(1, 1),) * count)
    with pytest.raises(InvalidRequest, match="at most 500"):
        Selection(words="teacup " * count)


def test_a_selection_lies_within_the_image() -> None:
    image = Size(96, 64)
    assert Selection(box=box_around(-5, 2.5, 20.2, 400)).within(image).box == Box(0, 2, 21, 64)
    for selection in (Selection((Point(97, 3),)), Selection((Point(3, -0.1),)), Selection(box=Box(96, 0, 99, 9))):
        with pytest.raises(InvalidRequest) as refused:
            selection.within(image)
        assert refused.value.code == "field_out_of_range"
        with pytest.raises(InvalidRequest):
            candidates_of(GRABCUT, CanonicalImage(np.zeros((64, 96, 3), np.uint8)), selection)


def test_an_unknown_segmenter_is_refused_with_the_names(db: None) -> None:
    with pytest.raises(InvalidRequest, match="the segmenters are: colour, grabcut, saliency, u2net"):
        registry.find("magic")
