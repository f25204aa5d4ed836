"""What the segmenters without a model select in photos and drawings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Point, Selection, candidates_of

COLOUR, SALIENCY = registry.find("colour"), registry.find("saliency")


def test_the_main_object_is_what_differs_from_the_border() -> None:
    drawn = np.full((300, 400, 3), (90, 120, 90), np.uint8)
    cv2.ellipse(drawn, (210, 160), (80, 60), 20, 0, 360, (220, 60, 40), -1)
    wanted = (drawn[:, :, 0] > 200).astype(np.uint8) * 255
    found = SALIENCY.segment(CanonicalImage(drawn), Selection())
    assert np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted) > 0.95


def test_the_main_object_of_a_photo_is_found_and_an_even_image_has_none() -> None:
    found = SALIENCY.segment(CanonicalImage(data.astronaut()), Selection())
    assert found[100, 220] == found[300, 200] == 255  # her face and her suit
    assert found[100, 350] == found[20, 400] == 0  # the dark wall
    assert not SALIENCY.segment(CanonicalImage(np.full((80, 90, 3), 77, np.uint8)), Selection()).any()


def test_it_is_found_at_the_same_place_in_a_large_photo() -> None:
    small = data.coffee()
    large = cv2.resize(small, (3600, 2400), interpolation=cv2.INTER_CUBIC)
    wanted = cv2.resize(SALIENCY.segment(CanonicalImage(small), Selection()), (3600, 2400)) > 127
    found = SALIENCY.segment(CanonicalImage(large), Selection()) > 0
    assert np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted) > 0.8


def test_a_colour_is_selected_as_far_as_it_is_connected() -> None:
    drawn = np.full((60, 90, 3), 30, np.uint8)
    drawn[10:30, 10:40] = drawn[40:55, 60:80] = (200, 100, 100)
    drawn[10:30, 40:50] = (220, 110, 100)
    found = COLOUR.segment(CanonicalImage(drawn), Selection((Point(20, 20),), tolerance=10))
    assert found[10:30, 10:40].all()
    assert np.count_nonzero(found) == 20 * 30
    with_more = COLOUR.segment(CanonicalImage(drawn), Selection((Point(20, 20),), tolerance=20))
    assert np.count_nonzero(with_more) == 20 * 40
    both = Selection((Point(20, 20), Point(70, 50), Point(0, 0, is_object=False)))
    assert np.count_nonzero(COLOUR.segment(CanonicalImage(drawn), both)) == 20 * 40 + 15 * 20
    less = Selection((Point(20, 20), Point(45, 20, is_object=False)), tolerance=20)
    assert not COLOUR.segment(CanonicalImage(drawn), less).any()


@pytest.mark.parametrize("tolerance", [-1, 256, float("nan"), float("inf")])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(InvalidRequest, match="tolerance is"):
        Selection((Point(1, 1),), tolerance=tolerance)


def test_a_colour_needs_a_point() -> None:
    with pytest.raises(InvalidRequest, match="send a point on it"):
        candidates_of(COLOUR, CanonicalImage(data.coffee()), Selection())
