"""Thin damage: scratches, dust and specks, interpolated by a biharmonic surface with tension.

Minimises the sum of the squared Laplacian plus TENSION times the squared gradient over the hole, so it solves
lap(lap(u)) = TENSION lap(u) with the known pixels around it as boundary values (S. B. Damelin and N. S. Hoang, "On
Surface Completion and Image Inpainting by Biharmonic Functions", 2018; tension as in splines keeps the surface from
overshooting at edges). Unlike the harmonic surfaces of `core.poisson` it continues slopes across a scratch. It is of
fourth order and ill-conditioned, so it is solved directly, by a sparse LU factorisation for each tile.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import splu

from inpainting.core.geometry import Box, Size
from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.progress import Report

TENSION = 0.3
"""Measured: 0.03, 0.1, 0.3, 1 and 3 on four photos with scratches 1, 3 and 5 pixels wide; 0.3 to 1 is the best."""
TILE = 256
MARGIN = 24
"""Pixels of neighbouring tiles that are solved together with a tile, so that tiles meet without a seam."""
MAX_EFFORT = 1.5e8
"""The factorisations' time grows with about the 3/2 power of the pixels in a tile: this is the sum over all tiles,
about 10 seconds. Pictures under half a megapixel do not reach it, nor do 40 megapixels of which 5 % are damaged."""

Interpolate = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]


def close_scratches(image: NDArray[np.uint8], damage: NDArray[np.bool_], report: Report) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] with `damage` [h, w] interpolated; roughly, where a surface would take minutes."""
    whole = Box.whole(Size(damage.shape[1], damage.shape[0]))
    effort = sum(np.count_nonzero(damage[tile.slices]) ** 1.5 for tile in whole.tiles(TILE))
    return by_tiles(biharmonic_fill if effort <= MAX_EFFORT else rough_fill, image, damage, report)


def interpolate_roughly(image: NDArray[np.uint8], hole: NDArray[np.bool_], report: Report) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] with `hole` [h, w] filled by means of the known pixels around."""
    return by_tiles(rough_fill, image, hole, report)


def by_tiles(
    interpolate: Interpolate, image: NDArray[np.uint8], damage: NDArray[np.bool_], report: Report
) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] with `damage` [h, w] interpolated, tile by tile."""
    out = image.copy()
    whole = Box.whole(Size(damage.shape[1], damage.shape[0]))
    tiles = whole.tiles(TILE)
    for index, tile in enumerate(tiles):
        here = damage[tile.slices]
        if here.any():
            around = tile.expanded(MARGIN).clipped(whole)
            filled = interpolate(image[around.slices], damage[around.slices])
            out[tile.slices][here] = filled[tile.relative_to(around).slices][here]
        report((index + 1) / len(tiles))
    return out


def rough_fill(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`image` [h, w, 3] with `hole` [h, w] filled by `pull_push`."""
    return np.clip(np.rint(pull_push(image.astype(np.float32), ~hole)), 0, 255).astype(np.uint8)


def biharmonic_fill(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`image` [h, w, 3] with `hole` [h, w] filled by the least squared Laplacian + TENSION * squared gradient."""
    if hole.all():
        return image.copy()
    reach = cv2.dilate(hole.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > 0
    inside = np.flatnonzero(hole)
    outer, inner = laplacian_matrix(reach), laplacian_matrix(hole)
    flat = image.reshape(-1, 3).astype(np.float64)
    flat[inside] = 0
    unknown = outer[:, inside]
    system = (unknown.T @ unknown + TENSION * inner[:, inside]).tocsc()
    force = -(unknown.T @ (outer @ flat)) - TENSION * (inner @ flat)
    # a component without any known pixel in this crop would be singular
    system.setdiag(system.diagonal() + 1e-6)
    values = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(force)
    out = image.copy().reshape(-1, 3)
    out[inside] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return out.reshape(image.shape)


def laplacian_matrix(at: NDArray[np.bool_]) -> csr_matrix:
    """[pixels of `at`, all pixels]: the graph Laplacian, the number of neighbours on the diagonal and -1 for each.

    With scipy's `LaplacianNd`, which builds it for all pixels, closing scratches takes 2.4 times as long.
    """
    height, width = at.shape
    rows, columns = np.nonzero(at)
    index = np.arange(len(rows))
    degree = np.zeros(len(rows))
    entries = []
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        row, column = rows + down, columns + right
        exists = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        degree += exists
        entries.append((index[exists], (row * width + column)[exists], -np.ones(np.count_nonzero(exists))))
    entries.append((index, rows * width + columns, degree))
    first, second, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return coo_matrix((values, (first, second)), shape=(len(rows), height * width)).tocsr()
