"""Evens out brightness and colour where pieces from different places meet: a gradient-domain blend.

P. Pérez, M. Gangnet, A. Blake, "Poisson Image Editing" (SIGGRAPH 2003), with two restraints: a jump too large to be a
change of light is an edge of the scene and stays, and a screening term keeps a correction near its seam.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CYCLES = 6
SMOOTHINGS = 2
OMEGA = np.float32(0.8)
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)


def membrane(force: Floats, hole: NDArray[np.bool_], screening: float) -> Floats:
    """The correction c [h, w, 3] with (degree + screening) c - sum of neighbours = force in the hole, and 0 outside it.

    Multigrid V-cycles; what lies beyond the picture's border has no say.
    """
    levels = [(hole.astype(np.float32), np.float32(screening))]
    while min(levels[-1][0].shape) > 4:
        fine, screen = levels[-1]
        levels.append((halved(fine), screen * 4))
    operators = []
    for mask, screen in levels:
        degree = cv2.filter2D(np.ones_like(mask), -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
        solid = (mask > 0.5).astype(np.float32)[:, :, None]
        operators.append((solid, (degree + screen)[:, :, None]))
    correction = np.zeros_like(force)
    for _ in range(CYCLES):
        correction = cycle(correction, force * operators[0][0], operators, 0)
    return correction


def cycle(value: Floats, force: Floats, operators: list[tuple[Floats, Floats]], level: int) -> Floats:
    mask, diagonal = operators[level]
    last = level == len(operators) - 1
    for _ in range(30 if last else SMOOTHINGS):
        value = value + OMEGA * mask * (force - applied(value, diagonal)) / diagonal
    if last:
        return value
    residual = mask * (force - applied(value, diagonal))
    coarse = operators[level + 1][0]
    shrunk = halved(residual) * 4 * coarse
    update = cycle(np.zeros_like(shrunk), shrunk, operators, level + 1)
    height, width = mask.shape[:2]
    grown = cv2.resize(update, (2 * update.shape[1], 2 * update.shape[0]), interpolation=cv2.INTER_LINEAR)
    update = mask * grown[:height, :width]
    # the coarse hole's edge lies up to half a cell off, so its answer is only a direction: go as far as it helps
    rise = applied(update, diagonal)
    length = float(np.vdot(update, rise))
    if length > 0:
        value = value + np.float32(max(0.0, float(np.vdot(update, residual)) / length)) * update
    for _ in range(SMOOTHINGS):
        value = value + OMEGA * mask * (force - applied(value, diagonal)) / diagonal
    return value


def applied(value: Floats, diagonal: Floats) -> Floats:
    return diagonal * value - cv2.filter2D(value, -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)


def halved(plane: Floats) -> Floats:
    """Means of 2x2 blocks; an odd last row or column is met by zeros."""
    height, width = plane.shape[:2]
    if height % 2 or width % 2:
        plane = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    return cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)


def smooth_fill(image: Floats, known: NDArray[np.bool_]) -> Floats:
    """`image` [h, w, c] where known; elsewhere the means of what is known nearby, from coarser and coarser levels."""
    weight = known.astype(np.float32)[:, :, None]
    if known.all() or min(known.shape) < 2 and max(known.shape) < 2:
        return image
    value = halved(image * weight).reshape((known.shape[0] + 1) // 2, (known.shape[1] + 1) // 2, -1)
    share = halved(weight[:, :, 0])[:, :, None]
    value = np.where(share > 0, value / np.maximum(share, 1e-6), 0).astype(np.float32)
    coarse = smooth_fill(value, share[:, :, 0] > 0)
    grown = cv2.resize(coarse, (2 * coarse.shape[1], 2 * coarse.shape[0]), interpolation=cv2.INTER_LINEAR)
    grown = grown.reshape(2 * coarse.shape[0], 2 * coarse.shape[1], -1)
    return np.where(known[:, :, None], image, grown[: known.shape[0], : known.shape[1]])
