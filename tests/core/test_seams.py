"""The seam score, and the membrane and tone that lower it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve
from skimage import data

from inpainting.core.masks import grow
from inpainting.core.membrane import Membrane, strips
from inpainting.core.picture import Mask, Picture
from inpainting.core.seams import seam_score
from inpainting.core.tones import tone_between
from tests.strategies import masks, sizes


def blot(height: int, width: int, radius: int) -> Mask:
    y, x = np.mgrid[:height, :width]
    inside = (y - height // 2) ** 2 + (x - width // 2) ** 2 <= radius**2
    return np.where(inside, np.uint8(255), np.uint8(0))


def lifted(pixels: NDArray[np.uint8], mask: Mask, levels: int) -> Picture:
    step = np.where(mask > 0, levels, 0)[:, :, np.newaxis]
    return Picture(np.clip(pixels.astype(int) + step, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("photo", [data.astronaut, data.chelsea, data.coffee, data.rocket])
def test_an_untouched_photo_scores_under_one_and_a_step_over_it(photo: Callable[[], NDArray[np.uint8]]) -> None:
    pixels = photo()
    height, width = pixels.shape[:2]
    mask = blot(height, width, 60)
    scores = [seam_score(lifted(pixels, mask, step), mask) for step in (0, 20, 40)]
    assert scores[0] < 0.6
    assert scores[0] < scores[1] < scores[2]
    assert scores[2] > 1


def test_a_step_of_two_levels_in_a_clear_sky_is_seen_and_in_texture_is_not() -> None:
    mask = blot(100, 100, 30)
    sky = np.full((100, 100, 3), 150, np.uint8)
    grass = np.random.default_rng(0).integers(50, 200, sky.shape, np.uint8)
    assert seam_score(Picture(sky), mask) == 0
    assert seam_score(lifted(sky, mask, 2), mask) == pytest.approx(1)
    assert seam_score(lifted(grass, mask, 2), mask) < 0.7


def test_noise_without_a_step_is_not_taken_for_a_seam() -> None:
    mask = blot(200, 200, 60)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 1), np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (200, 200, 1), np.uint8)
    assert seam_score(Picture(np.where(mask[:, :, np.newaxis] > 0, other, noise)), mask) < 0.7


def test_a_step_of_hue_alone_is_seen() -> None:
    mask = blot(100, 100, 30)
    pixels = np.full((100, 100, 3), 150, np.uint8)
    pixels[mask > 0] = 170, 140, 150  # of the same luminance
    assert seam_score(Picture(pixels), mask) > 3


def test_both_depths_score_alike() -> None:
    mask = blot(100, 100, 30)
    pixels = lifted(data.astronaut()[:100, :100], mask, 30).pixels
    deep = Picture(pixels.astype(np.uint16) * 257)
    assert seam_score(deep, mask) == pytest.approx(seam_score(Picture(pixels), mask), rel=1e-4)


def test_without_an_edge_there_is_nothing_to_score() -> None:
    picture = Picture(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    assert seam_score(picture, np.full((9, 9), 255, np.uint8)) == 0
    assert seam_score(picture, np.zeros((9, 9), np.uint8)) == 0


def test_colours_that_nobody_sees_make_no_seam() -> None:
    mask = blot(60, 60, 20)
    pixels = np.full((60, 60, 2), 255, np.uint8)
    pixels[mask == 0] = 0
    assert seam_score(Picture(pixels), mask) == 0


@given(sizes(30).flatmap(lambda size: masks(size)))
@settings(max_examples=50, deadline=None)
def test_a_score_is_a_number_for_every_mask(mask: Mask) -> None:
    picture = Picture(np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8))
    assert 0 <= seam_score(picture, mask) < 256


def ring(mask: Mask) -> NDArray[np.bool_]:
    return (grow(mask, 1) > 0) & (mask == 0)


def harmonic(values: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """The membrane by a direct sparse solution: each pixel inside is the mean of its neighbours in the picture."""
    inside = mask > 0
    number = np.cumsum(inside).reshape(mask.shape) - 1
    rows, columns = np.nonzero(inside)
    entries: list[tuple[int, int, float]] = []
    right = np.zeros(len(rows))
    for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
        for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= other[0] < mask.shape[0] and 0 <= other[1] < mask.shape[1]:
                entries.append((i, i, 1.0))
                if inside[other]:
                    entries.append((i, number[other], -1.0))
                else:
                    right[i] += values[other]
    at_row, at_column, weight = zip(*entries, strict=True)
    result = values.copy()
    result[inside] = spsolve(csr_matrix((weight, (at_row, at_column)), (len(rows), len(rows))), right)
    return result


def membrane_through(values: NDArray[np.float64], mask: Mask) -> Membrane:
    rows, columns = np.nonzero(ring(mask))
    return Membrane(mask.shape, rows, columns, values[rows, columns, np.newaxis].astype(np.float32))


def islands() -> Mask:
    mask = np.zeros((150, 131), np.uint8)
    mask[20:60, 10:25] = mask[70:140, 60:120] = mask[100:103, 5:55] = mask[5, 90] = 255
    return mask


def corner() -> Mask:
    mask = np.zeros((120, 121), np.uint8)
    mask[:80, :70] = 255
    return mask


@pytest.mark.parametrize("mask", [blot(160, 150, 65), blot(33, 34, 3), islands(), corner()])
def test_a_membrane_is_what_a_direct_solution_gives(mask: Mask) -> None:
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    values = 20 + 10 * np.sin(x / 30) + x / 20 - y / 15
    inside = mask > 0
    error = np.abs(membrane_through(values, mask).strip(0, mask.shape[0])[:, :, 0] - harmonic(values, mask))[inside]
    assert error.mean() < 0.01 * np.ptp(values[ring(mask)])
    assert error.max() < 0.03 * np.ptp(values[ring(mask)])


def test_a_membrane_is_the_same_in_strips_as_whole() -> None:
    mask = blot(400, 90, 180)
    values = np.random.default_rng(0).normal(0, 20, mask.shape)
    membrane = membrane_through(values, mask)
    whole = membrane.strip(0, 400)
    parts = np.concatenate([membrane.strip(top, min(top + 37, 400)) for top in range(0, 400, 37)])
    assert np.abs(whole - parts).max() < 1e-3
    rows, columns = np.array([399, 0, 200]), np.array([3, 5, 45])
    assert np.allclose(membrane.at(rows, columns), whole[rows, columns])


def test_strips_cover_every_row_once() -> None:
    for height, width in ((1, 1), (5000, 8000), (8192, 8192), (70, 3_000_000)):
        covered = [row for top, bottom in strips(height, width) for row in range(top, bottom)]
        assert covered == list(range(height))


def test_a_tone_is_told_by_pairs_though_some_were_painted_anew() -> None:
    rng = np.random.default_rng(0)
    kept = rng.uniform(20, 200, (3000, 3)).astype(np.float32)
    gain, offset = np.array([[1.15, 1.0, 0.85], [8, -12, 20]], np.float32)
    painted = kept * gain + offset + rng.normal(0, 2, kept.shape).astype(np.float32)
    painted[:600] = rng.uniform(0, 255, (600, 3))
    tone = tone_between(painted, kept)
    assert tone is not None
    assert np.abs(tone(painted[600:]) - kept[600:]).mean() < 3
    assert tone.gain == pytest.approx([1 / 1.15, 1.0, 1 / 0.85], rel=0.03)


def test_unrelated_pixels_have_no_contrast_to_match() -> None:
    rng = np.random.default_rng(0)
    tone = tone_between(
        rng.uniform(0, 255, (3000, 1)).astype(np.float32), rng.normal(90, 5, (3000, 1)).astype(np.float32)
    )
    assert tone is None or tone.gain == pytest.approx([1.0])


def test_equal_pixels_and_too_few_have_no_tone() -> None:
    some = np.random.default_rng(0).uniform(0, 255, (100, 3)).astype(np.float32)
    assert tone_between(some, some) is None
    assert tone_between(some[:5], some[:5] + 9) is None
