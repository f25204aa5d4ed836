"""A large hole is filled as a network painted it, with pixels of the photo."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from inpainting.core import compiled
from inpainting.core.geometry import Box, Size
from inpainting.engines.quick_fill import filling
from inpainting.engines.quick_fill.bands import PlacedBand, bands_around
from inpainting.engines.quick_fill.engine import fill_bands
from inpainting.engines.quick_fill.guides import painted_guide
from inpainting.engines.quick_fill.guides.guide import Guide
from inpainting.engines.quick_fill.guides.painted_guide import HOLE_TRUST, make_painted_guide
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Bytes, build_graph
from inpainting.engines.quick_fill.large_holes import refill

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")

HEIGHT, WIDTH = 240, 320


def wall(bulge: float) -> tuple[Bytes, Bools]:
    """Return (image, dark): a dark and a light half with grain, whose border bulges to the right in the middle."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    dark = x < 150 + bulge * np.cos(np.pi * np.clip((y - HEIGHT / 2) / 160, -0.5, 0.5))
    grain = np.random.default_rng(1).normal(0, 12, (HEIGHT, WIDTH, 3))
    return np.clip(np.where(dark[:, :, None], 80, 170) + grain, 0, 255).astype(np.uint8), dark


def hole() -> Bools:
    plane = np.zeros((HEIGHT, WIDTH), bool)
    plane[50:190, 110:240] = True
    return plane


def test_a_filling_follows_what_was_painted_and_is_as_sharp_as_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, _ = wall(0)
    bulging, dark = wall(50)
    painted = cv2.GaussianBlur(bulging, (0, 0), 4)
    inside = hole()
    photo[inside] = 0

    def refilled() -> Bytes:
        return refill(painted, photo, inside, inside, (0, 1), lambda share: None)

    def wrong(image: Bytes) -> int:
        return int(np.count_nonzero(((cv2.blur(image, (5, 5)).mean(axis=2) < 125) != dark) & inside))

    followed = refilled()
    light = inside & ~cv2.dilate(dark.view(np.uint8), np.ones((15, 15), np.uint8)).view(bool)
    assert followed[light].std() > 0.8 * photo[:, 260:].std() > 2 * painted[light].std()
    np.testing.assert_array_equal(followed[~inside], photo[~inside])
    monkeypatch.setattr(filling, "make_painted_guide", lambda graph, painted, band: None)
    assert wrong(followed) < 0.6 * wrong(refilled())


def test_what_does_not_look_like_the_photo_is_not_trusted() -> None:
    photo, _ = wall(0)
    inside = hole()
    graph = build_graph(photo, ~inside, inside, 1)
    own, stripes = photo.copy(), photo.copy()
    stripes[::6] = (255, 0, 0)
    trust = []
    for painted in (own, stripes):
        guide = make_painted_guide(graph, painted)
        assert guide is not None
        trust.append(float(guide.confidence[inside].mean()))
    assert trust[0] > 0.6 > 0.1 > trust[1]


def test_a_strip_thinner_than_a_patch_has_no_guide() -> None:
    photo, _ = wall(0)
    strip = np.zeros((4, WIDTH), bool)
    strip[:, 100:200] = True
    assert make_painted_guide(build_graph(photo[:4], ~strip, strip, 1), photo[:4]) is None


BAND = 80
"""Pixels of the band at the left of `lawn`, which all of the image's pixels lie at the right of."""


def lawn() -> tuple[Bytes, Bools]:
    """Return (image, dark): a light lawn with a dark ball that the edge of the known pixels cuts in half."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    dark = (x - BAND) ** 2 + (y - HEIGHT / 2) ** 2 < 45**2
    grain = np.random.default_rng(1).normal(0, 12, (HEIGHT, WIDTH, 3))
    return np.clip(np.where(dark[:, :, None], 40, 170) + grain, 0, 255).astype(np.uint8), dark


def left_band() -> PlacedBand:
    (band,) = bands_around(Box(BAND, 0, WIDTH, HEIGHT), Size(WIDTH, HEIGHT))
    return band


def guide_of(painted: Bytes) -> tuple[Guide, Bools]:
    """Return (the guide in the band of `lawn`, where dark pixels are expected in the band)."""
    photo, _ = lawn()
    place = left_band()
    inside = place.hole()
    mirrored = place.with_mirror(photo)
    graph = build_graph(mirrored, ~inside, inside, 1)
    levels = np.zeros((HEIGHT, WIDTH - BAND), np.float32)
    shown = np.where(inside[:, :, None], place.with_mirror(painted), mirrored)
    guide = make_painted_guide(graph, shown, place.band(levels))
    assert guide is not None
    return guide, (guide.features[:, :, 0] < 110) & inside


def test_a_band_ends_an_object_where_the_network_does(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, dark = lawn()
    photo = whole.copy()
    photo[:, :BAND] = 0
    painted = cv2.GaussianBlur(whole, (0, 0), 2)

    def wrong(painted: Bytes | None) -> int:
        filled = fill_bands(photo.copy(), [left_band()], (1, 0), lambda share: None, painted)
        np.testing.assert_array_equal(filled[:, BAND:], photo[:, BAND:])
        return int(np.count_nonzero(((cv2.blur(filled, (5, 5)).mean(axis=2) < 105) != dark)[:, :BAND]))

    followed = wrong(painted)
    assert followed < 0.5 * wrong(None)
    monkeypatch.setattr(painted_guide, "BAND_TRUST", HOLE_TRUST)
    assert followed < 0.8 * wrong(painted), "the trust of holes is not enough"


def test_what_a_network_adds_beyond_the_edge_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = lawn()
    painted = cv2.GaussianBlur(whole, (0, 0), 2)
    added = np.s_[20:60, 20:28]
    painted[added] = (20, 10, 60)
    _, expected = guide_of(painted)
    assert not expected[added].any(), "the lawn is expected in its place"
    assert expected[100:140, BAND - 20 : BAND].all(), "the ball ends as painted"
    monkeypatch.setattr(painted_guide, "begins_in", lambda known, plane: plane)
    assert guide_of(painted)[1][added].any()


def test_a_drift_of_colours_is_trusted_in_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = lawn()
    drift = np.linspace(12, 0, BAND).astype(np.uint8)[None, :, None]
    painted = cv2.GaussianBlur(whole, (0, 0), 2)
    painted[:, :BAND] -= np.minimum(painted[:, :BAND], drift)
    corner = np.s_[:60, :20]
    assert guide_of(painted)[0].confidence[corner].min() > 0.8
    monkeypatch.setattr(painted_guide, "BAND_TRUST", replace(painted_guide.BAND_TRUST, drift=0.0))
    assert guide_of(painted)[0].confidence[corner].mean() < 0.8
