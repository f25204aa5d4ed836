"""The seam score: how visible the edge of the mask is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from skimage import data

from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.seams import seam_score
from tests.core.shapes import disc
from tests.support.strategies import masks, sizes


def stepped(pixels: NDArray[np.uint8], mask: Mask, levels: int) -> CanonicalImage:
    step = np.where(mask > 0, levels, 0)[:, :, np.newaxis]
    return CanonicalImage(np.clip(pixels.astype(int) + step, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("photo", [data.astronaut, data.chelsea, data.coffee, data.rocket])
def test_an_untouched_photo_scores_under_one_and_a_step_over_it(photo: Callable[[], NDArray[np.uint8]]) -> None:
    pixels = photo()
    height, width = pixels.shape[:2]
    mask = disc(height, width, 60)
    scores = [seam_score(stepped(pixels, mask, step), mask) for step in (0, 20, 40)]
    assert scores[0] < 0.6
    assert scores[0] < scores[1] < scores[2]
    assert scores[2] > 1


def test_a_step_of_two_levels_is_visible_in_a_clear_sky_and_not_in_texture() -> None:
    mask = disc(100, 100, 30)
    sky = np.full((100, 100, 3), 150, np.uint8)
    grass = np.random.default_rng(0).integers(50, 200, sky.shape, np.uint8)
    assert seam_score(CanonicalImage(sky), mask) == 0
    assert seam_score(stepped(sky, mask, 2), mask) == pytest.approx(1)
    assert seam_score(stepped(grass, mask, 2), mask) < 0.7


def test_noise_without_a_step_is_no_seam() -> None:
    mask = disc(200, 200, 60)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 1), np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (200, 200, 1), np.uint8)
    assert seam_score(CanonicalImage(np.where(mask[:, :, np.newaxis] > 0, other, noise)), mask) < 0.7


def test_a_step_of_hue_alone_is_visible() -> None:
    mask = disc(100, 100, 30)
    pixels = np.full((100, 100, 3), 150, np.uint8)
    pixels[mask > 0] = 170, 140, 150  # of the same luminance
    assert seam_score(CanonicalImage(pixels), mask) > 3


def test_both_depths_score_alike() -> None:
    mask = disc(100, 100, 30)
    pixels = stepped(data.astronaut()[:100, :100], mask, 30).pixels
    deep = CanonicalImage(pixels.astype(np.uint16) * 257)
    assert seam_score(deep, mask) == pytest.approx(seam_score(CanonicalImage(pixels), mask), rel=1e-4)


def test_without_an_edge_the_score_is_zero() -> None:
    image = CanonicalImage(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    assert seam_score(image, np.full((9, 9), 255, np.uint8)) == 0
    assert seam_score(image, np.zeros((9, 9), np.uint8)) == 0


def test_colours_of_transparent_pixels_make_no_seam() -> None:
    mask = disc(60, 60, 20)
    pixels = np.full((60, 60, 2), 255, np.uint8)
    pixels[mask == 0] = 0
    assert seam_score(CanonicalImage(pixels), mask) == 0


@given(sizes(30).flatmap(lambda size: masks(size)))
@settings(max_examples=50, deadline=None)
def test_a_score_is_a_number_for_every_mask(mask: Mask) -> None:
    image = CanonicalImage(np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8))
    assert 0 <= seam_score(image, mask) < 256
