"""A large hole is filled as a network painted it, with pixels of the photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inpainting.core import compiled
from inpainting.engines.quick_fill import filling
from inpainting.engines.quick_fill.hole_graph import Bools, Bytes, build_graph
from inpainting.engines.quick_fill.large_holes import refill
from inpainting.engines.quick_fill.painted_guide import make_painted_guide

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
    monkeypatch.setattr(filling, "make_painted_guide", lambda graph, painted: None)
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
