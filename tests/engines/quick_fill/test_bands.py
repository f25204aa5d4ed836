"""quick-fill beyond the edges of an image: patterns and skies continue, objects are not repeated."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.seams import seam_score
from inpainting.engines.quick_fill import bands, filling
from inpainting.engines.quick_fill.bands import MARGIN, Band, PlacedBand, bands_around, kept_box
from inpainting.engines.quick_fill.engine import BAND_EFFORT
from inpainting.engines.quick_fill.filling import Search, fill
from inpainting.engines.quick_fill.labelling import repetition
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Floats, HoleGraph, Ints, build_graph
from tests.support.quick_fill import flat_error, paint, weave
from tests.support.strategies import boxes_in, examples, sizes

Bytes = NDArray[np.uint8]


def around(shape: tuple[int, ...], kept: Box) -> Bytes:
    mask = np.full(shape[:2], 255, np.uint8)
    mask[kept.slices] = 0
    return mask


@given(sizes(60).flatmap(lambda size: st.tuples(st.just(size), boxes_in(size))), st.integers(0, 5))
@settings(max_examples=examples(200), deadline=None)
def test_bands_cover_all_but_the_kept_box_and_copy_from_known_pixels_alone(
    placed: tuple[Size, Box], min_breadth: int
) -> None:
    image, known = placed
    kept = kept_box(known, image, min_breadth)
    times = np.zeros((image.height, image.width), int)
    times[kept.slices] += 1
    for band in bands_around(kept, image):
        sources = np.zeros(times.shape, bool)
        sources[band.around.slices] = True
        sources[band.box.slices] = False
        assert (times[sources] == 1).all()
        assert band.breadth > min_breadth
        times[band.box.slices] += 1
    assert (times == 1).all()


@pytest.mark.parametrize("kept", [Box(0, 0, 160, 120), Box(60, 40, 220, 160), Box(0, 60, 220, 160)])
def test_a_pattern_is_continued_on_every_side(kept: Box) -> None:
    pattern = weave(160, 220)
    mask = around(pattern.shape, kept)
    painted = paint(np.where(mask[:, :, None] > 0, np.uint8(0), pattern), mask)[0]
    assert np.array_equal(painted[mask == 0], pattern[mask == 0])
    assert flat_error(painted, pattern, mask) < 0.25 * float(pattern[mask > 0].astype(np.float64).var())


def lawn_with_a_ball() -> tuple[Bytes, Bytes]:
    """(a textured green image with one red disc at its edge, [180, 240, 3]; the mask of a border around it)."""
    rng = np.random.default_rng(4)
    kept = Box(60, 40, 180, 140)
    image = np.zeros((180, 240, 3), np.uint8)
    texture = cv2.GaussianBlur(rng.normal(0, 40, (100, 120)), (0, 0), 1.5)
    lawn = np.stack([texture + 60, texture + 130, texture + 50], axis=2)
    image[kept.slices] = lawn.clip(0, 255).astype(np.uint8)
    cv2.circle(image, (150, 90), 20, (220, 30, 20), -1)
    return image, around(image.shape, kept)


def red_share(image: Bytes, mask: Bytes) -> float:
    part = image[mask > 0].astype(int)
    return float((part[:, 0] > part[:, 1] + 60).mean())


def test_an_object_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = lawn_with_a_ball()
    assert red_share(paint(image, mask)[0], mask) == 0

    def no_costs(graph: HoleGraph, offsets: Ints, colours: Floats, known: Bools) -> Floats:
        return np.zeros((len(offsets), len(graph.rows)), np.float32)

    monkeypatch.setattr(filling, "colour_costs", no_costs)
    monkeypatch.setattr(filling, "make_band_guide", lambda graph, features, band: None)
    assert red_share(paint(image, mask)[0], mask) == 0, "uniqueness is enough, without a guide too"
    monkeypatch.setattr(bands, "UNIQUE_COST", np.float32(0))
    assert red_share(paint(image, mask)[0], mask) > 0, "without its cost the object is no example"


def one_band(axis: int, inward: int, breadth: int = 36) -> tuple[Bytes, PlacedBand]:
    """(noise of 300x320 pixels, its band on one side)."""
    noise = np.random.default_rng(5).integers(0, 256, (300, 320, 3)).astype(np.uint8)
    kept = [0, 0, 320, 300]
    kept[1 - axis if inward > 0 else 3 - axis] += inward * breadth
    (band,) = bands_around(Box(*kept), Size(320, 300))
    assert (band.axis, band.inward, band.breadth) == (axis, inward, breadth)
    return noise, band


SIDES = pytest.mark.parametrize(("axis", "inward"), [(0, 1), (0, -1), (1, 1), (1, -1)])


@SIDES
def test_the_strip_is_there_a_second_time_mirrored(axis: int, inward: int) -> None:
    image, band = one_band(axis, inward)
    filled, hole = band.with_mirror(image), band.hole()
    assert np.array_equal(band.unmirrored(filled), image[band.around.slices])
    # as if the band were at the left
    image, filled = (np.moveaxis(plane, axis, 1)[:, ::inward] for plane in (image, filled))
    hole = np.moveaxis(hole, axis, 1)[:, ::inward]
    strip = image[:, 36 : 36 + band.strip]
    edge = np.repeat(strip[:, :1], MARGIN, axis=1)
    assert np.array_equal(filled, np.hstack([image[:, :36], strip, strip[:, ::-1], edge]))
    assert hole[:, :36].all()
    assert not hole[:, 36:].any()


@SIDES
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_mirrored_pixels_count_as_those_that_they_repeat(axis: int, inward: int, factor: int) -> None:
    image, placed = one_band(axis, inward)
    graph, band = graph_and_band(image, placed, factor)
    originals = band.originals(graph)
    colours = graph.features[:, :, :3].reshape(-1, 3)
    sources = band.without_margin(graph)
    assert np.array_equal(colours[originals[sources]], colours[sources.ravel()])
    unmirrored = np.zeros(graph.shape, bool)
    np.moveaxis(unmirrored, axis, 0)[::inward][: (placed.breadth + placed.strip) // factor] = True
    assert unmirrored.ravel()[originals].all()
    assert np.array_equal(originals[unmirrored], np.flatnonzero(unmirrored))


def graph_and_band(image: Bytes, placed: PlacedBand, factor: int = 1) -> tuple[HoleGraph, Band]:
    """The graph of the image with its mirror image, and the band of an image in which nothing is unique."""
    hole, mirrored = placed.hole(), placed.with_mirror(image)
    graph = build_graph(mirrored, ~hole, hole, factor)
    size = placed.known.size
    return graph, placed.band(np.zeros((size.height, size.width), np.float32))


def test_stars_are_seldom_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    points = np.where(rng.random((120, 216)) < 0.003, 1000.0, 0.0)
    sky = 20 + cv2.GaussianBlur(points, (0, 0), 1.5) + rng.normal(0, 1, points.shape)
    image = np.repeat(sky.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    (placed,) = bands_around(Box(96, 0, 216, 120), Size(216, 120))

    def often_repeated() -> float:
        """The share of the band's pixels whose source is copied to more than two places."""
        graph, band = graph_and_band(image, placed)
        canonical = placed.with_mirror(image)
        rng = np.random.default_rng(1)
        filled = fill(canonical, graph.known, graph.hole, Search(BAND_EFFORT), rng, lambda done: None, band)
        rows, columns = graph.rows + filled.offsets[:, 0], graph.columns + filled.offsets[:, 1]
        sources = band.originals(graph)[rows, columns]
        return float((np.bincount(sources)[sources] > 2).mean())

    assert often_repeated() < 0.3
    monkeypatch.setattr(repetition, "REPEAT_COST", 0.0)
    assert often_repeated() > 0.6, "without its cost the image is no example"


@SIDES
def test_mirroring_costs_more_where_lines_are_oblique(axis: int, inward: int) -> None:
    image, placed = one_band(axis, inward)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]

    def mean_cost(line: NDArray[np.int_]) -> float:
        stripes = np.where(line % 24 < 6, np.uint8(200), np.uint8(60))
        graph, band = graph_and_band(np.dstack([stripes] * 3), placed)
        offset = np.zeros((1, 2), np.int32)
        offset[0, axis] = inward * 2 * placed.strip
        return float(band.costs(graph, offset).mean())

    straight, oblique = [mean_cost(rows), mean_cost(columns)], [mean_cost(rows + columns), mean_cost(rows - columns)]
    assert min(oblique) > 3 * max(straight)


def test_a_sky_continues_without_an_edge() -> None:
    rows, columns = np.mgrid[0:120, 0:160].astype(np.float64)
    sky = np.stack([80 + rows * 0.6, 120 + rows * 0.5, 220 - columns * 0.2], axis=2)
    image = np.rint(sky + np.random.default_rng(2).normal(0, 1.5, sky.shape)).clip(0, 255).astype(np.uint8)
    mask = around(image.shape, Box(40, 30, 120, 90))
    assert seam_score(CanonicalImage(paint(image, mask)[0]), mask) < 0.7


def test_the_bytes_depend_on_the_seed_and_not_on_the_number_of_threads() -> None:
    coffee = cv2.resize(skimage.data.coffee(), (120, 80), interpolation=cv2.INTER_AREA)
    image = cv2.copyMakeBorder(coffee, 20, 20, 30, 30, cv2.BORDER_REPLICATE)
    mask = around(image.shape, Box(30, 20, 150, 100))
    threads = cv2.getNumThreads()
    several, other = paint(image, mask, seed=1)[0], paint(image, mask, seed=2)[0]
    try:
        cv2.setNumThreads(1)
        alone = paint(image, mask, seed=1)[0]
    finally:
        cv2.setNumThreads(threads)
    assert several.tobytes() == alone.tobytes() != other.tobytes()


def test_holes_in_the_image_are_filled_before_the_bands() -> None:
    pattern = weave(150, 200)
    mask = around(pattern.shape, Box(50, 0, 200, 150))
    cv2.circle(mask, (100, 70), 16, 255, -1)
    painted = paint(np.where(mask[:, :, None] > 0, np.uint8(0), pattern), mask)[0]
    inside = mask.copy()
    inside[:, :50] = 0
    assert flat_error(painted, pattern, inside) < 1
    assert np.array_equal(painted[mask == 0], pattern[mask == 0])


def test_a_tiny_image_can_be_extended() -> None:
    image = cv2.copyMakeBorder(np.full((1, 2, 3), 90, np.uint8), 9, 9, 9, 9, cv2.BORDER_CONSTANT)
    mask = around(image.shape, Box(9, 9, 11, 10))
    assert (paint(image, mask)[0] == 90).all()
