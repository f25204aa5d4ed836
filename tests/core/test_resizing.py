"""Scaling: colours are weighted with alpha, by every channel alone."""

from __future__ import annotations

import tracemalloc
from typing import cast

import numpy as np
import pytest
from skimage import data

from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, PatchedImage, Pixels
from inpainting.core.resizing import resize, resize_pixels

SIZES = [Size(75, 61), Size(302, 262), Size(200, 90), Size(100, 300)]


def photo(depth: type[np.uint8 | np.uint16], channels: int) -> CanonicalImage:
    """151 x 131 pixels of the photo, whose transparency falls from the left to the right."""
    rgb = data.astronaut()[100:231, 150:301]
    alpha = np.broadcast_to(np.linspace(0, 255, 151).astype(np.uint8)[:, np.newaxis], (131, 151, 1))
    pixels = np.concatenate([rgb[:, :, : channels - 1], alpha], axis=2)
    return CanonicalImage(cast(Pixels, (pixels.astype(int) * (np.iinfo(depth).max // 255)).astype(depth)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colours_are_weighted_with_alpha(depth: type[np.uint8 | np.uint16], channels: int, size: Size) -> None:
    image, full = photo(depth, channels), np.iinfo(depth).max
    shares = image.pixels[:, :, -1:] / full
    multiplied = np.rint(image.colour * shares).astype(depth)
    scaled = resize(image, size)
    alpha = resize_pixels(cast(Pixels, np.ascontiguousarray(image.pixels[:, :, -1:])), size)
    expected = resize_pixels(cast(Pixels, multiplied), size) / (np.maximum(alpha, 1) / full)
    assert np.array_equal(scaled.pixels[:, :, -1:], alpha)
    # A level of the multiplied colours, which are rounded, is full / alpha levels of the colours.
    assert (np.abs(scaled.colour - expected.clip(0, full)) <= full / np.maximum(alpha, 1) + 1).all()


def test_invisible_colours_do_not_bleed() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, :20], pixels[:, 20:] = (200, 100, 50, 255), (0, 255, 0, 0)
    scaled = resize(CanonicalImage(pixels), Size(13, 13)).pixels
    visible = scaled[scaled[:, :, 3] > 0]
    assert np.abs(visible[:, :3].astype(int) - (200, 100, 50)).max() <= 2


def test_the_source_is_not_written() -> None:
    image = CanonicalImage(np.array([[[200, 100, 50, 40]]], np.uint8))
    assert resize(image, Size(3, 3)).pixels.reshape(-1, 4).tolist()[0] == [198, 102, 51, 40]
    assert image.pixels.ravel().tolist() == [200, 100, 50, 40]


@pytest.mark.parametrize("is_patched", [False, True])
def test_little_is_held_beside_the_result(is_patched: bool) -> None:
    image, size = CanonicalImage(np.full((1000, 2000, 4), 200, np.uint8)), Size(3000, 1500)
    if is_patched:
        image = PatchedImage(image, Box(0, 0, 5, 5), np.zeros((5, 5, 4), np.uint8))
    tracemalloc.start()
    scaled = resize(image, size)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    copied = 8_000_000 if is_patched else 0
    strip_as_floats = 4 * 4 * 2**20
    assert most < 1.6 * scaled.pixels.nbytes + copied + 2 * strip_as_floats
