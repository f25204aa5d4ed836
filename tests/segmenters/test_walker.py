"""What clicks select one after another, and the sizes that are offered."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage, Mask
from inpainting.segmenters import geodesic, grabcut, registry, walker
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


def test_colours_speak_for_the_object_as_far_as_the_border_has_not_shown_them() -> None:
    photo, wanted = figure()
    graph = geodesic.make_graph(photo)
    prior = walker.colour_prior(graph, geodesic.distances(graph, [graph.region(200, 150)]), np.array(graph.border))
    inside = np.array([wanted[int(y), int(x)] > 0 for x, y in graph.centres])
    assert prior[graph.region(200, 160)] > 1
    assert np.median(prior[inside]) > np.median(prior[~inside]) + 0.5
    assert np.abs(prior).max() <= 3


def clicked_in_turn(photo: RGB, points: list[Point]) -> list[Mask]:
    """The mask after each point."""
    image = CanonicalImage(photo)
    return [GRABCUT.segment(image, Selection(tuple(points[: count + 1]))) for count in range(len(points))]


@pytest.mark.parametrize("name", ["coffee", "astronaut", "chelsea"])
def test_a_point_on_the_object_removes_nothing_and_one_beside_it_adds_nothing(name: str) -> None:
    photo = np.ascontiguousarray(getattr(data, name)())
    height, width = photo.shape[:2]
    rng = np.random.default_rng(7)
    points = [Point(width / 2, height / 2)]
    points += [
        Point(float(rng.uniform(0, width)), float(rng.uniform(0, height)), bool(index % 2)) for index in range(6)
    ]
    masks = clicked_in_turn(photo, points)
    changes = 0
    for point, before, after in zip(points[1:], masks, masks[1:], strict=False):
        lost, gained = np.count_nonzero(before & ~after), np.count_nonzero(after & ~before)
        assert (lost if point.is_object else gained) == 0
        assert (after[int(point.y), int(point.x)] > 0) == point.is_object
        changes += int(lost + gained)
    assert changes


def test_masks_do_not_depend_on_what_is_kept_of_earlier_points() -> None:
    points = [Point(300, 90), Point(150, 250), Point(300, 330, is_object=False)]
    in_turn = clicked_in_turn(data.coffee(), points)
    grabcut.forget()
    assert np.array_equal(clicked_in_turn(data.coffee(), points)[-1], in_turn[-1])
    grabcut.forget()
    assert np.array_equal(GRABCUT.segment(CanonicalImage(data.coffee()), Selection(tuple(points))), in_turn[-1])
