"""What one click selects, and the sizes that are offered."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage, Mask
from inpainting.segmenters import geodesic, registry, walker
from inpainting.segmenters.base import Point, Selection, candidates_of
from inpainting.segmenters.geodesic import RGB

GRABCUT = registry.find("grabcut")
HEAD, SHIRT, TROUSERS = (225, 180, 150), (190, 40, 50), (40, 60, 140)


def figure() -> tuple[RGB, Mask]:
    """A figure of three colours before uneven green, and its mask."""
    rng = np.random.default_rng(4)
    photo = np.full((320, 400, 3), (90, 130, 80), np.uint8)
    mask = np.zeros((320, 400), np.uint8)
    for colour, box in ((HEAD, (180, 60, 220, 110)), (SHIRT, (160, 110, 240, 190)), (TROUSERS, (170, 190, 230, 270))):
        for drawn, value in ((photo, colour), (mask, (255,))):
            cv2.rectangle(drawn, box[:2], (box[2] - 1, box[3] - 1), value, -1)
    noise = cv2.GaussianBlur(rng.normal(0, 60, (320, 400, 3)), (0, 0), 2)
    return np.clip(photo + noise, 0, 255).astype(np.uint8), mask


def overlap(found: Mask, wanted: Mask) -> float:
    return float(np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted))


@pytest.mark.parametrize("at", [(225, 155), (190, 120), (260, 190)], ids=["middle", "left", "right"])
@pytest.mark.parametrize("name", ["chelsea", "rocket"])
def test_one_click_anywhere_on_a_coin_before_a_photo_selects_it(name: str, at: tuple[int, int]) -> None:
    coin = cv2.resize(data.coins()[156:219, 315:378], (190, 190), interpolation=cv2.INTER_CUBIC)
    photo = np.ascontiguousarray(getattr(data, name)()[:300, :450])
    wanted = np.zeros((300, 450), np.uint8)
    cv2.circle(wanted, (224, 154), 86, 255, -1)
    coins = np.zeros_like(photo)
    coins[60:250, 130:320] = coin[:, :, np.newaxis]
    photo[wanted > 0] = coins[wanted > 0]
    assert overlap(GRABCUT.segment(CanonicalImage(photo), Selection((Point(*at),))), wanted) > 0.9


def test_a_click_on_a_spot_of_an_object_selects_all_that_differs_from_the_border() -> None:
    rng = np.random.default_rng(4)
    photo, wanted = np.full((300, 420, 3), (80, 110, 75), np.uint8), np.zeros((300, 420), np.uint8)
    for drawn, coat in ((photo, (40, 40, 45)), (wanted, 255)):
        cv2.ellipse(drawn, (210, 150), (120, 80), 0, 0, 360, coat, -1)
    for x in (130, 190, 250):
        cv2.line(photo, (x, 110), (x + 25, 190), (225, 225, 220), 14)
    noise = cv2.GaussianBlur(rng.normal(0, 60, photo.shape), (0, 0), 2)
    spotted = CanonicalImage(np.clip(photo + noise, 0, 255).astype(np.uint8))
    assert overlap(GRABCUT.segment(spotted, Selection((Point(200, 150),))), wanted) > 0.95


def test_what_differs_from_the_border_is_told_by_its_colours() -> None:
    photo, wanted = figure()
    graph = geodesic.graph_of(photo)
    odds = walker.border_prior(graph)
    inside = np.array([wanted[int(y), int(x)] > 0 for x, y in graph.centres])
    assert np.median(odds[inside]) > 1
    assert np.median(odds[~inside]) < -1
    assert np.abs(odds).max() <= 3


def test_smaller_and_larger_masks_are_offered_for_one_point() -> None:
    photo = CanonicalImage(data.coffee())
    found = candidates_of(GRABCUT, photo, Selection((Point(150, 250),)))
    areas = [np.count_nonzero(candidate.mask) for candidate in found]
    assert areas[1] < areas[0] < areas[2]
    assert np.array_equal(found[0].mask, GRABCUT.segment(photo, Selection((Point(150, 250),))))
    assert all(candidate.mask[250, 150] == 255 and candidate.score is None for candidate in found)
    assert len(candidates_of(GRABCUT, photo, Selection((Point(150, 250), Point(300, 90))))) == 1


def test_equal_masks_are_offered_once_and_a_box_has_one() -> None:
    photo = np.full((120, 160, 3), 60, np.uint8)
    photo[40:80, 50:110] = (240, 200, 40)
    for selection in (Selection((Point(80, 60),)), Selection(box=Box(45, 35, 115, 85))):
        assert len(candidates_of(GRABCUT, CanonicalImage(photo), selection)) == 1


def test_a_larger_radius_takes_more_and_points_beside_the_object_are_left_out() -> None:
    photo = cv2.resize(data.coffee(), (448, 299))
    small, large = walker.select(photo, [(212, 160)], [], (0.08, 0.5))
    assert 0 < np.count_nonzero(small) < np.count_nonzero(large)
    without = walker.select(photo, [(212, 160)], [(112, 186)], (0.5,))[0]
    assert (without[160, 212], without[186, 112]) == (255, 0)


def test_colours_speak_for_the_object_as_far_as_the_border_has_not_shown_them() -> None:
    photo, wanted = figure()
    graph = geodesic.graph_of(photo)
    prior = walker.colour_prior(graph, geodesic.distances(graph, [graph.region(200, 150)]), [])
    inside = np.array([wanted[int(y), int(x)] > 0 for x, y in graph.centres])
    assert prior[graph.region(200, 160)] > 1
    assert np.median(prior[inside]) > np.median(prior[~inside]) + 0.5
    assert np.abs(prior).max() <= 3
