"""Weights and distances that are computed in strips are those of the whole mask."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from inpainting.core import feathering, masks
from inpainting.core.feathering import Feather
from inpainting.core.geometry import Box
from inpainting.core.image import Mask


@pytest.fixture
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feathering, "STRIP_PIXELS", 300)
    monkeypatch.setattr(masks, "STRIP_PIXELS", 300)


def shapes() -> Iterator[Mask]:
    """Masks of discs, rings, strokes and noise, with grey ones among them."""
    rng = np.random.default_rng(0)
    for number in range(120):
        height, width = rng.integers(1, 90, 2).tolist()
        mask = np.zeros((height, width), np.uint8)
        for _ in range(rng.integers(1, 6)):
            centre = int(rng.integers(0, width)), int(rng.integers(0, height))
            axes = int(rng.integers(1, 40)), int(rng.integers(1, 40))
            grey, thickness = int(rng.choice([255, 120])), int(rng.choice([-1, 1, 3]))
            cv2.ellipse(mask, centre, axes, int(rng.integers(0, 180)), 0, 360, grey, thickness)
        yield mask if number % 10 else rng.integers(0, 2, (height, width), np.uint8) * np.uint8(255)


def whole(mask: Mask, width: int) -> np.ndarray:
    return Feather(mask, width).rows(0, len(mask))


def test_strips_of_weights_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [(mask, width) for number, mask in enumerate(shapes()) for width in (1, 2 + number % 17)]
    expected = [whole(mask, width) for mask, width in cases]
    monkeypatch.setattr(feathering, "STRIP_PIXELS", 300)
    for (mask, width), weights in zip(cases, expected, strict=True):
        strips = Feather(mask, width)
        rows = [strips.rows(top, min(top + 5, len(mask))) for top in range(0, len(mask), 5)]
        assert np.array_equal(np.concatenate(rows), weights)


def test_the_edge_along_a_box_is_an_edge(small_strips: None) -> None:
    mask = np.zeros((60, 50), np.uint8)
    mask[10:45, 8:40] = 255
    box = Box(8, 10, 40, 45)
    assert np.array_equal(Feather(mask, 6, box).rows(0, 35), whole(mask, 6)[box.slices])


def test_a_thin_part_of_a_deep_component_has_its_long_ramp_in_every_strip(small_strips: None) -> None:
    mask = np.zeros((120, 40), np.uint8)
    mask[:40, 5:35] = mask[40:, 18:21] = 255  # a block, and a stroke that hangs from it
    alone = mask.copy()
    alone[:41] = 0
    assert whole(mask, 10)[100, 19] < whole(alone, 10)[100, 19] == 1


@pytest.mark.parametrize("radius", [1, 2, 9, 40])
def test_strips_grow_as_the_whole_mask_does(radius: int, small_strips: None) -> None:
    kernel = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius
    for mask in shapes():
        binary = np.where(mask > 0, np.uint8(255), np.uint8(0))
        assert np.array_equal(masks.grow(binary, radius), cv2.dilate(binary, kernel.astype(np.uint8)))
