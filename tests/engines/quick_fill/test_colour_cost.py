"""What is copied into a hole has colours that occur around it, near the same place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.labelling.colour_cost import colour_costs, compute_features
from inpainting.engines.quick_fill.labelling.hole_graph import HoleGraph, build_graph
from tests.support.quick_fill import paint

Bytes = NDArray[np.uint8]

SKY = (60, 90, 220)


def wall_with_a_painted_sky() -> tuple[Bytes, Bytes]:
    """([160, 240, 3]: a wall with a plain sky on it whose surroundings are those of the hole; the mask)."""
    rng = np.random.default_rng(2)
    stones = cv2.resize(rng.integers(-30, 31, (32, 48)).astype(np.float32), (240, 160), interpolation=cv2.INTER_CUBIC)
    wall = np.clip(stones[:, :, None] + np.array([140, 105, 70]), 0, 255).astype(np.uint8)
    wall[60:100, 85:125] = wall[60:100, 40:80]
    wall[74:86, 99:111] = SKY
    mask = np.zeros((160, 240), np.uint8)
    mask[70:90, 50:70] = 255
    return wall, mask


def graph_of(image: Bytes, mask: Bytes) -> HoleGraph:
    return build_graph(image, mask == 0, mask > 0, 1)


def test_a_sky_is_not_copied_into_a_wall() -> None:
    image, mask = wall_with_a_painted_sky()
    for seed in range(3):
        painted = paint(image, mask, seed=seed)[0][mask > 0].astype(int)
        assert (painted[:, 2] > painted[:, 0] + 60).mean() < 0.02


def test_a_colour_costs_less_near_where_it_occurs() -> None:
    image = np.empty((60, 80, 3), np.uint8)
    image[:, :40], image[:, 40:] = (200, 40, 40), (40, 160, 40)
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 20:60] = 255
    graph = graph_of(image, mask)
    red, green = colour_costs(graph, np.array([[0, -20], [0, 40]], np.int32), *compute_features(graph))
    left_edge = graph.columns < 22
    assert green[left_edge].min() > 10 * red[left_edge].max()


def test_the_colour_of_unknown_pixels_has_no_cost() -> None:
    image, mask = wall_with_a_painted_sky()
    mask[:, 120:] = 255
    graph = graph_of(image, mask)
    (costs,) = colour_costs(graph, np.array([[0, 80]], np.int32), *compute_features(graph))
    assert not costs[graph.columns < 70].any()


def test_a_plain_source_costs_more_in_detailed_surroundings() -> None:
    rng = np.random.default_rng(3)
    speckled = cv2.resize(rng.integers(60, 197, (40, 40)).astype(np.uint8), (120, 120), interpolation=cv2.INTER_NEAREST)
    image = np.full((120, 240, 3), 128, np.uint8)  # at the right plain, of the same mean colour
    image[:, :120] = speckled[:, :, None]
    mask = np.zeros((120, 240), np.uint8)
    mask[50:70, 70:90] = 255
    graph = graph_of(image, mask)
    offsets = np.array([[0, -40], [0, 100]], np.int32)
    other_speckles, plain = colour_costs(graph, offsets, *compute_features(graph))
    assert plain.min() > 3 * np.median(other_speckles)
