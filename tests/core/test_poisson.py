"""The smooth surfaces against direct sparse solutions of the same equations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from inpainting.core.image import Mask
from inpainting.core.masks import grow
from inpainting.core.poisson import HarmonicSurface, pull_push, screened_poisson
from tests.core.direct_solutions import harmonic
from tests.core.shapes import disc


def ring(mask: Mask) -> NDArray[np.bool_]:
    return (grow(mask, 1) > 0) & (mask == 0)


def surface_through(values: NDArray[np.float64], mask: Mask) -> HarmonicSurface:
    rows, columns = np.nonzero(ring(mask))
    return HarmonicSurface(mask.shape, rows, columns, values[rows, columns, np.newaxis].astype(np.float32))


def islands() -> Mask:
    mask = np.zeros((150, 131), np.uint8)
    mask[20:60, 10:25] = mask[70:140, 60:120] = mask[100:103, 5:55] = mask[5, 90] = 255
    return mask


def corner() -> Mask:
    mask = np.zeros((120, 121), np.uint8)
    mask[:80, :70] = 255
    return mask


@pytest.mark.parametrize("mask", [disc(160, 150, 65), disc(33, 34, 3), islands(), corner()])
def test_a_harmonic_surface_is_what_a_direct_solution_gives(mask: Mask) -> None:
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    values = 20 + 10 * np.sin(x / 30) + x / 20 - y / 15
    inside = mask > 0
    error = np.abs(surface_through(values, mask).strip(0, mask.shape[0])[:, :, 0] - harmonic(values, mask))[inside]
    assert error.mean() < 0.01 * np.ptp(values[ring(mask)])
    assert error.max() < 0.03 * np.ptp(values[ring(mask)])


def test_a_harmonic_surface_is_the_same_in_strips_as_whole() -> None:
    mask = disc(400, 90, 180)
    values = np.random.default_rng(0).normal(0, 20, mask.shape)
    surface = surface_through(values, mask)
    whole = surface.strip(0, 400)
    parts = np.concatenate([surface.strip(top, min(top + 37, 400)) for top in range(0, 400, 37)])
    assert np.abs(whole - parts).max() < 1e-3
    rows, columns = np.array([399, 0, 200]), np.array([3, 5, 45])
    assert np.allclose(surface.at(rows, columns), whole[rows, columns])


def screened(force: NDArray[np.float32], mask: Mask, screening: float) -> NDArray[np.float64]:
    """The screened Poisson equation, zero outside the mask, by a direct sparse solution."""
    inside = mask > 0
    number = np.cumsum(inside).reshape(mask.shape) - 1
    rows, columns = np.nonzero(inside)
    entries: list[tuple[int, int, float]] = []
    for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
        entries.append((i, i, screening))
        for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= other[0] < mask.shape[0] and 0 <= other[1] < mask.shape[1]:
                entries.append((i, i, 1.0))
                if inside[other]:
                    entries.append((i, number[other], -1.0))
    at_row, at_column, weight = zip(*entries, strict=True)
    result = np.zeros(force.shape)
    result[inside] = spsolve(csr_matrix((weight, (at_row, at_column)), (len(rows), len(rows))), force[inside])
    return result


@pytest.mark.parametrize("mask", [disc(160, 150, 65), disc(33, 34, 3), islands(), corner()])
@pytest.mark.parametrize("screening", [1e-3, 0.1])
def test_a_screened_correction_is_what_a_direct_solution_gives(mask: Mask, screening: float) -> None:
    rng = np.random.default_rng(0)
    force = np.zeros((*mask.shape, 3), np.float32)
    at = tuple(places[:: max(1, len(places) // 40)] for places in np.nonzero(mask))
    force[at] = rng.normal(0, 10, (len(at[0]), 3))
    shares: list[float] = []
    solution = screened_poisson(force, mask > 0, screening, shares.append)
    direct = screened(force, mask, screening)
    assert np.abs(solution - direct).max() < 0.02 * np.abs(direct).max()
    assert not solution[mask == 0].any()
    assert shares == sorted(shares)


def test_pull_push_keeps_known_pixels_and_fills_the_rest_within_their_range() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(20, 200, (61, 47, 3)).astype(np.float32)
    known = disc(61, 47, 9) > 0
    filled = pull_push(image, known)
    assert np.array_equal(filled[known], image[known])
    assert filled.min() >= image[known].min() - 0.01
    assert filled.max() <= image[known].max() + 0.01
    ramp = np.broadcast_to(np.linspace(0, 100, 64, dtype=np.float32)[None, :, None], (64, 64, 1))
    hole = disc(64, 64, 4) > 0
    assert np.abs(pull_push(np.where(hole[:, :, None], 0, ramp), ~hole) - ramp)[hole].max() < 8
