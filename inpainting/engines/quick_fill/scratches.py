"""Thin damage: scratches, dust and specks, interpolated by a biharmonic surface with tension.

Minimises the sum of the squared Laplacian plus TENSION times the squared gradient over the hole, so it solves
lap(lap(u)) = TENSION lap(u) with the known pixels around it as boundary values (S. B. Damelin and N. S. Hoang, "On
Surface Completion and Image Inpainting by Biharmonic Functions", 2018; tension as in splines keeps the surface from
overshooting at edges). Unlike the harmonic surfaces of `core.poisson` it continues slopes across a scratch. It is of
fourth order and ill-conditioned, so it is solved directly, by a sparse LU factorisation for each tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.progress import Report

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

TENSION = 0.3
"""Measured: 0.03, 0.1, 0.3, 1 and 3 on four photos with scratches 1, 3 and 5 pixels wide; 0.3 to 1 is the best."""
TILE = 256
MARGIN = 24
"""Pixels of neighbouring tiles that are solved together with a tile, so that tiles meet without a seam."""
MAX_EFFORT = 1.5e8
"""The factorisations' time grows with about the 3/2 power of the pixels in a tile: this is the sum over all tiles,
about 10 seconds. Images under half a megapixel do not reach it, nor do 40 megapixels of which 5 % are damaged."""

REACH = 2
STENCIL = [(d, r) for d in range(-REACH, REACH + 1) for r in range(-REACH, REACH + 1) if abs(d) + abs(r) <= REACH]
"""The pixels that the Laplacian of the Laplacian of a pixel reads: rows down, columns right."""
KNOWN, OUTSIDE = -1, -2
"""Stand in place of a pixel's number: not in the hole; not in the image."""

Interpolate = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]


def close_scratches(image: NDArray[np.uint8], damage: NDArray[np.bool_], report: Report) -> NDArray[np.uint8]:
    """Return a copy of `image` [h, w, 3] with `damage` [h, w] interpolated; roughly, where a surface would take
    minutes."""
    whole = Box.whole(Size(damage.shape[1], damage.shape[0]))
    effort = sum(np.count_nonzero(damage[tile.slices]) ** 1.5 for tile in whole.tiles(TILE))
    return interpolate_by_tiles(biharmonic_fill if effort <= MAX_EFFORT else rough_fill, image, damage, report)


def interpolate_roughly(image: NDArray[np.uint8], hole: NDArray[np.bool_], report: Report) -> NDArray[np.uint8]:
    """Return a copy of `image` [h, w, 3] with `hole` [h, w] filled by means of the known pixels around."""
    return interpolate_by_tiles(rough_fill, image, hole, report)


def interpolate_by_tiles(
    interpolate: Interpolate, image: NDArray[np.uint8], damage: NDArray[np.bool_], report: Report
) -> NDArray[np.uint8]:
    """Return a copy of `image` [h, w, 3] with `damage` [h, w] interpolated, tile by tile."""
    out = image.copy()
    whole = Box.whole(Size(damage.shape[1], damage.shape[0]))
    tiles = whole.tiles(TILE)
    for index, tile in enumerate(tiles):
        here = damage[tile.slices]
        if here.any():
            around = tile.expanded(MARGIN).clipped(whole)
            filled = interpolate(image[around.slices], damage[around.slices])
            cv2.copyTo(filled[tile.relative_to(around).slices], here.view(np.uint8), out[tile.slices])
        report((index + 1) / len(tiles))
    return out


def rough_fill(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return `image` [h, w, 3] with `hole` [h, w] filled by `pull_push`."""
    return np.clip(np.rint(pull_push(image.astype(np.float32), ~hole)), 0, 255).astype(np.uint8)


def biharmonic_fill(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return `image` [h, w, 3] with `hole` [h, w] filled by the least squared Laplacian + TENSION * squared
    gradient."""
    from scipy.sparse.linalg import splu  # takes as long to import as Django, so only where there are scratches

    if hole.all():
        return image.copy()
    system, force = surface_equations(image, hole)
    # Panels of one column: the factors of thin damage are so sparse that wider ones take half as long again.
    factors = splu(system, permc_spec="MMD_AT_PLUS_A", panel_size=1, relax=1, options={"SymmetricMode": True})
    values = factors.solve(force)
    out = image.copy().reshape(-1, 3)
    out[np.flatnonzero(hole)] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return out.reshape(image.shape)


def surface_equations(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> tuple[csc_matrix, NDArray[np.float64]]:
    """Return the matrix [n, n] and the right side [n, 3] of the equations for the n pixels of `hole` [h, w], row by
    row.

    The matrix is L L + TENSION L, where L is the graph Laplacian: the number of neighbours on the diagonal, and -1 for
    each. Entry by entry, since multiplying sparse matrices takes as long as the factorisation.
    """
    from scipy.sparse import csc_matrix

    numbers = np.full((hole.shape[0] + 2 * REACH, hole.shape[1] + 2 * REACH), OUTSIDE, np.int32)
    numbers[REACH:-REACH, REACH:-REACH] = np.where(hole, 0, KNOWN)
    degrees = np.full(numbers.shape, 4.0)
    for edge in (degrees[REACH], degrees[-REACH - 1], degrees[:, REACH], degrees[:, -REACH - 1]):
        edge -= 1
    colours = cv2.copyMakeBorder(image, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE).reshape(-1, 3)
    row_length, number, degree = numbers.shape[1], numbers.ravel(), degrees.ravel()
    pixels = np.flatnonzero(number == 0)
    number[pixels] = np.arange(len(pixels), dtype=np.int32)
    own = degree[pixels]
    indices = np.empty((len(STENCIL), len(pixels)), np.int32)
    values = np.empty((len(STENCIL), len(pixels)))
    force = np.zeros((len(pixels), 3))
    for entry, (down, right) in enumerate(STENCIL):
        there = pixels + (down * row_length + right)
        distance = abs(down) + abs(right)
        if distance == 0:
            # A component without any known pixel in this crop would be singular.
            values[entry] = own * own + own + TENSION * own + 1e-6
        elif distance == 1:
            values[entry] = -(own + degree[there]) - TENSION
        else:
            values[entry] = 2.0 if down and right else 1.0  # the number of neighbours that both pixels have
        indices[entry] = number[there]
        known = np.flatnonzero(indices[entry] == KNOWN)
        force[known] -= values[entry, known, np.newaxis] * colours[there[known]]
    indices, values = indices.T, values.T
    inside = indices >= 0
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(inside, axis=1))])
    # The matrix is symmetric: its rows are its columns.
    return csc_matrix((values[inside], indices[inside], starts), shape=(len(pixels), len(pixels))), force
