"""Large holes, many holes and dense damage: bounded work, and the promises of every other hole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.engines.quick_fill import engine, holes, large_holes, scratches
from inpainting.engines.quick_fill.holes import split_mask
from inpainting.engines.quick_fill.large_holes import downscaling
from tests.support.quick_fill import disc, paint

Bytes = NDArray[np.uint8]


@pytest.fixture
def texture() -> Bytes:
    """A photo with fine noise, 361x241: no multiple of any factor."""
    photo = cv2.resize(skimage.data.coffee(), (361, 241), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(1).integers(-25, 26, photo.shape)
    return np.clip(photo.astype(np.int16) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def factors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The factors by which images are downscaled; holes over 1,000 pixels count as large."""
    monkeypatch.setattr(large_holes, "MAX_HOLE", 1_000)
    used: list[int] = []

    def remembered(*arguments: object) -> int:
        used.append(downscaling(*arguments))  # type: ignore[arg-type]  # passed on as they are
        return used[-1]

    monkeypatch.setattr(engine, "downscaling", remembered)
    return used


def sharpness(pixels: Bytes, mask: NDArray[np.bool_]) -> float:
    """The mean size of the Laplacian within the mask: how much fine detail there is."""
    return float(np.abs(cv2.Laplacian(pixels.astype(np.float32), cv2.CV_32F))[mask].mean())


def test_a_large_hole_is_filled_with_the_detail_of_the_image(texture: Bytes, factors: list[int]) -> None:
    mask = disc(texture.shape, (180, 120), 70)
    (painted,) = paint(texture, mask, seed=7)
    assert factors == [4]
    assert np.array_equal(painted[mask == 0], texture[mask == 0])
    inner = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
    assert 0.8 < sharpness(painted, inner) / sharpness(texture, mask == 0) < 1.25


def test_a_large_hole_is_filled_the_same_way_twice(texture: Bytes, factors: list[int]) -> None:
    mask = disc(texture.shape, (180, 120), 70)
    first, second = paint(texture, mask, seed=7)[0], paint(texture, mask, seed=7)[0]
    assert np.array_equal(first, second)


def test_pixels_under_a_large_mask_are_not_used(texture: Bytes, factors: list[int]) -> None:
    mask = disc(texture.shape, (180, 120), 70)
    other = texture.copy()
    other[mask > 0] = (255, 0, 255)
    assert np.array_equal(paint(texture, mask)[0], paint(other, mask)[0])


def test_a_large_hole_in_a_gradient_continues_it(factors: list[int]) -> None:
    ramp = np.repeat(np.linspace(20, 220, 360).astype(np.uint8)[None, :, None], 240, axis=0).repeat(3, axis=2)
    mask = disc(ramp.shape, (180, 120), 70)
    (painted,) = paint(ramp, mask)
    assert np.abs(painted.astype(int) - ramp)[mask > 0].max() <= 8


def test_where_no_block_is_known_the_hole_is_interpolated(factors: list[int]) -> None:
    """Kept lines of one pixel are lost when the image is downscaled."""
    image = np.full((240, 360, 3), (30, 120, 200), np.uint8)
    mask = np.full((240, 360), 255, np.uint8)
    mask[::24] = 0
    (painted,) = paint(image, mask)
    assert factors[0] > 1
    assert np.abs(painted.astype(int) - image).max() <= 1


def test_factors_bound_the_hole_its_surroundings_and_all_of_them() -> None:
    assert downscaling(0, []) == 1
    assert downscaling(large_holes.MAX_HOLE, [large_holes.MAX_AREA]) == 1
    assert downscaling(large_holes.MAX_HOLE + 1, [1]) == 2
    assert downscaling(1, [large_holes.MAX_AREA * 9]) == 3
    assert downscaling(1, [large_holes.MAX_AREAS // 2] * 8) == 2


def test_very_many_holes_are_filled_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.tile(disc((70, 70), (35, 35), 14), (12, 12)) > 0
    _, separate = split_mask(mask)
    monkeypatch.setattr(holes, "MAX_HOLES", 100)
    monkeypatch.setattr(holes, "GRID", 210)
    thin, joined = split_mask(mask)
    assert (len(separate), len(joined)) == (144, 16)
    covered = thin.copy()
    for box in joined:
        covered[box.slices] = True
    assert covered[mask].all()


def test_a_mask_is_split_the_same_way_region_by_region(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((700, 900), np.uint8)
    cv2.circle(mask, (120, 130), 40, 1, -1)
    cv2.circle(mask, (190, 130), 12, 1, -1)  # near the first: one hole
    cv2.line(mask, (400, 80), (860, 90), 1, 3)
    cv2.line(mask, (600, 20), (610, 160), 1, 3)
    cv2.line(mask, (40, 400), (800, 660), 1, 30)  # a long and slender hole: tiles
    assert len(holes.regions(mask > 0)) == 3
    thin, found = split_mask(mask > 0)
    monkeypatch.setattr(holes, "MAX_REGIONS", 0)
    assert len(holes.regions(mask > 0)) == 1
    thin_as_one, found_as_one = split_mask(mask > 0)
    assert np.array_equal(thin, thin_as_one)
    assert thin.any()
    assert sorted(map(repr, found)) == sorted(map(repr, found_as_one))
    tiles = [box for box in found if box.top >= 300]
    assert 3 <= len(tiles) <= 8
    assert {tile.size for tile in holes.even_tiles(Box(0, 0, 1100, 520), 500)} == {Size(550, 520)}


def test_dense_damage_is_interpolated_in_bounded_time(texture: Bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros(texture.shape[:2], np.uint8)
    mask[::3] = 255
    (precise,) = paint(texture, mask)
    monkeypatch.setattr(scratches, "MAX_EFFORT", 1.0)
    (rough,) = paint(texture, mask)
    smooth = cv2.GaussianBlur(texture, (9, 9), 2).astype(int)
    assert not np.array_equal(precise, rough)
    assert np.array_equal(rough[mask == 0], texture[mask == 0])
    assert np.abs(rough - smooth)[mask > 0].mean() < 20
