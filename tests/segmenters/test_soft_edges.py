"""Soft edges: a mask that follows hair, at any size of the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.core.image import Mask
from inpainting.segmenters.soft_edges import soften

Pixels = NDArray[np.uint8]


def hairy(side: int) -> tuple[Pixels, NDArray[np.float64], Mask]:
    """A dark disc with hairs on a photo of grass, the share of it in each pixel, and the disc without hairs."""
    fine = np.zeros((2 * side, 2 * side), np.uint8)
    rng = np.random.default_rng(7)
    for angle in np.linspace(0, 2 * np.pi, 160, endpoint=False):
        way = np.array([np.cos(angle + rng.uniform(-0.3, 0.3)), np.sin(angle)])
        start, length = side + 0.55 * side * way, rng.uniform(0.03, 0.045) * side
        cv2.line(fine, start.astype(int), (start + length * way).astype(int), 255, max(1, side // 250), cv2.LINE_AA)
    disc = np.zeros_like(fine)
    cv2.circle(disc, (side, side), int(0.57 * side), 255, -1)
    whole = cv2.resize(cv2.bitwise_or(fine, disc), (side, side), interpolation=cv2.INTER_AREA) / 255
    mask = np.where(cv2.resize(disc, (side, side)) > 127, np.uint8(255), np.uint8(0))
    grass = cv2.resize(cv2.cvtColor(data.grass(), cv2.COLOR_GRAY2RGB), (side, side)) // 3 + 150
    image = whole[:, :, None] * (60, 30, 20) + (1 - whole[:, :, None]) * grass
    return np.rint(image).astype(np.uint8), whole, mask


@pytest.mark.parametrize("side", [400, 1024, 2400])
def test_hairs_beyond_the_mask_are_followed_by_greys(side: int) -> None:
    """The largest is filtered at a reduced size and enlarged."""
    image, whole, mask = hairy(side)
    found = soften(image, mask) / 255
    edge = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=side // 20) > 0
    before, after = (np.abs(values - whole)[edge].mean() for values in (mask / 255, found))
    assert after < 0.6 * before


def test_nothing_changes_farther_from_the_edge_than_the_band() -> None:
    image, _, mask = hairy(400)
    mask[:40] = 90  # a soft mask keeps its greys there
    found = soften(image, mask)
    distances = [cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (mask, np.where(mask > 127, 0, mask + 1))]
    far = np.maximum(*distances) > 12
    assert np.array_equal(found[far], mask[far])
    assert not np.array_equal(found, mask)


def test_a_sharp_edge_that_the_mask_misses_by_pixels_is_found() -> None:
    image = np.full((200, 200, 3), 40, np.uint8)
    image[50:150, 50:150] = (200, 180, 90)
    mask = np.zeros((200, 200), np.uint8)
    mask[52:152, 49:149] = 255
    found = soften(image, mask)
    wanted = np.zeros_like(mask)
    wanted[50:150, 50:150] = 255
    assert np.abs(found.astype(int) - wanted).max() < 60


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 8000), (8192, 1), (5, 3000)])
def test_images_of_any_shape_are_taken(size: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 255, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    assert not soften(image, mask).any()
    mask[size[0] // 3 : size[0] // 3 * 2 + 1, size[1] // 4 : size[1] // 2 + 1] = 255
    before = mask.copy()
    assert soften(image, mask).shape == size
    assert np.array_equal(mask, before)
    assert (soften(image, np.full(size, 255, np.uint8)) == 255).all()
