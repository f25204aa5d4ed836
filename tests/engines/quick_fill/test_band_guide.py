"""Beyond the edges of an image quick-fill follows the lines that meet the edge, and what lies at it."""

from __future__ import annotations

import numpy as np
import pytest

from inpainting.core.geometry import Box, Size
from inpainting.engines.quick_fill import filling
from inpainting.engines.quick_fill.bands import Band, PlacedBand, bands_around
from inpainting.engines.quick_fill.guides.band_guide import MAX_SLOPE, add_affordable, carried_on, make_band_guide
from inpainting.engines.quick_fill.guides.guide import Guide
from inpainting.engines.quick_fill.labelling.colour_cost import compute_features
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Bytes, HoleGraph, build_graph
from tests.support.quick_fill import paint

SIDE, BREADTH = 120, 30
SIDES = pytest.mark.parametrize(("axis", "inward"), [(0, 1), (0, -1), (1, 1), (1, -1)])


def placed(axis: int, inward: int) -> PlacedBand:
    edges = [0, 0, SIDE, SIDE]
    edges[1 - axis if inward > 0 else 3 - axis] += inward * BREADTH
    (band,) = bands_around(Box(*edges), Size(SIDE, SIDE))
    return band


def graph_and_band(image: Bytes, place: PlacedBand) -> tuple[HoleGraph, Band]:
    hole = place.hole()
    size = place.known.size
    band = place.band(np.zeros((size.height, size.width), np.float32))
    return build_graph(place.with_mirror(image), ~hole, hole, 1), band


def halves(slope: float) -> tuple[Bytes, Bools]:
    """Return (image [SIDE, SIDE, 3] with grain, what is dark): a line with that slope divides dark from light."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    dark = y > slope * x
    grain = np.random.default_rng(1).normal(0, 6, (SIDE, SIDE, 1))
    image = np.where(dark[:, :, None], 60, 180) + grain
    return np.repeat(image, 3, axis=2).clip(0, 255).astype(np.uint8), dark


@SIDES
@pytest.mark.parametrize("slope", [-0.8, 0.0, 0.8])
def test_a_line_that_meets_the_edge_is_carried_on_in_its_direction(axis: int, inward: int, slope: float) -> None:
    image, dark = halves(slope)
    if axis == 0:  # a line from the top to the bottom
        image, dark = np.ascontiguousarray(image.swapaxes(0, 1)), dark.T
    place = placed(axis, inward)
    graph, band = graph_and_band(image, place)
    carried = place.unmirrored(carried_on(graph, band)[:, :, 0])
    inside = place.unmirrored(place.hole())
    wrong = ((carried < 120) != dark[place.around.slices])[inside].mean()
    assert abs(slope) < MAX_SLOPE
    assert wrong < 0.06


def test_what_lies_near_the_edge_but_not_at_it_is_hardly_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.repeat(np.random.default_rng(1).normal(120, 6, (SIDE, 2 * SIDE, 1)), 3, axis=2)
    image[10:-10, BREADTH + 8 : SIDE] = 200, 30, 20
    image = image.clip(0, 255).astype(np.uint8)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[:, :BREADTH] = 255

    def red() -> float:
        painted = paint(np.where(mask[:, :, None] > 0, np.uint8(0), image), mask)[0]
        return float((painted[:, :, 0] > painted[:, :, 2] + 60)[mask > 0].mean())

    assert red() < 0.05
    monkeypatch.setattr(filling, "make_band_guide", lambda graph, features, band: None)
    assert red() > 0.1, "without a guide the image is no example"


def test_where_nothing_in_the_image_is_like_it_the_guide_is_interpolated() -> None:
    rng = np.random.default_rng(2)
    image = np.repeat(rng.integers(95, 106, (SIDE, SIDE, 1), np.uint8), 3, axis=2)
    features, _ = compute_features(graph_and_band(image, placed(1, 1))[0])
    image[50:70, BREADTH : BREADTH + 4] = 250, 250, 0  # at the edge alone, too thin to copy a band from
    graph, band = graph_and_band(image, placed(1, 1))
    carried, guide = carried_on(graph, band), make_band_guide(graph, features, band)
    far = slice(55, 65), slice(0, BREADTH // 2)
    assert (carried[far][:, :, 0] > 190).all()
    assert (guide.features[far][:, :, 0] < 150).all()


def test_offsets_are_added_for_what_no_other_offset_reaches() -> None:
    image, _ = halves(0)
    graph, band = graph_and_band(image, placed(1, 1))
    features, _ = compute_features(graph)
    guide = Guide(np.zeros((*graph.shape, 4), np.float32), np.ones(graph.shape, np.float32), np.zeros((0, 2), np.int32))
    guide.features[:] = carried_on(graph, band)
    upward = np.array([[-SIDE, BREADTH]], np.int32)  # to outside the image
    offsets = add_affordable(graph, upward, guide, features, band)
    assert np.array_equal(offsets[:1], upward)
    costs = guide.costs(graph, offsets[1:], features)
    for cost, offset in zip(costs, offsets[1:], strict=True):
        cost[graph.source(slice(None), offset) < 0] = np.inf
    assert costs.min(axis=0).mean() < 10
