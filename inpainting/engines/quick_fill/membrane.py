"""Two smooth surfaces over a hole: a correction that springs from given forces, and a plain smooth fill."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.engines.quick_fill.progress import Report
from inpainting.engines.quick_fill.scene import Bools, Floats

CYCLES = 6
"""Measured against a direct solver on forces at random places: under 2 % of the largest correction is left."""
SMOOTHINGS = 2
COARSEST_SMOOTHINGS = 30
OMEGA = np.float32(0.8)
"""Damping of the Jacobi sweeps; 0.8 is the textbook's choice in two dimensions."""
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)

Operator = tuple[Floats, Floats]
"""One level's mask and diagonal, [h, w, 1]."""


def membrane(force: Floats, hole: Bools, screening: float, report: Report) -> Floats:
    """The c [h, w, 3] with (degree + screening) c - sum of neighbours = force in the hole, and 0 outside it.

    Conjugate gradients over multigrid V-cycles; what lies beyond the picture's border has no say.
    """
    operators = levels(hole, screening)
    mask, diagonal = operators[0]
    correction = np.zeros_like(force)
    residual = force * mask
    direction, before, scale = np.zeros_like(force), residual, 0.0
    for index in range(CYCLES):
        step = v_cycle(residual, operators)
        # the flexible form: a V-cycle is no symmetric preconditioner
        again = dot(step, residual - before) / scale if scale > 0 else 0.0
        direction = step + np.float32(max(0.0, again)) * direction
        rise = mask * applied(direction, diagonal)
        steep = dot(direction, rise)
        scale, before = dot(step, residual), residual
        if steep <= 0 or scale <= 0:
            break
        length = np.float32(dot(direction, residual) / steep)
        correction = correction + length * direction
        residual = residual - length * rise
        report((index + 1) / CYCLES)
    return correction


def levels(hole: Bools, screening: float) -> list[Operator]:
    planes = [hole.astype(np.float32)]
    while min(planes[-1].shape) > 4:
        planes.append(halved(planes[-1]))
    found = []
    for level, plane in enumerate(planes):
        degree = cv2.filter2D(np.ones_like(plane), -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
        mask = (plane >= 0.5).astype(np.float32)
        found.append((mask[:, :, None], (degree + np.float32(screening * 4**level))[:, :, None]))
    return found


def v_cycle(force: Floats, operators: list[Operator]) -> Floats:
    """One multigrid cycle from zero towards the answer to `force`."""
    value = np.zeros_like(force)
    (mask, diagonal), coarser = operators[0], operators[1:]
    for _ in range(SMOOTHINGS if coarser else COARSEST_SMOOTHINGS):
        value += OMEGA * mask * (force - applied(value, diagonal)) / diagonal
    if not coarser:
        return value
    residual = halved(mask * (force - applied(value, diagonal))) * np.float32(4) * coarser[0][0]
    value += mask * doubled(v_cycle(residual, coarser), mask.shape)
    for _ in range(SMOOTHINGS):
        value += OMEGA * mask * (force - applied(value, diagonal)) / diagonal
    return value


def applied(value: Floats, diagonal: Floats) -> Floats:
    return diagonal * value - cv2.filter2D(value, -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)


def dot(left: Floats, right: Floats) -> float:
    return float(np.einsum("ijk,ijk->", left, right, dtype=np.float64))


def halved(plane: Floats) -> Floats:
    """Means of 2x2 blocks; an odd last row or column is met by zeros."""
    height, width = plane.shape[:2]
    if height % 2 or width % 2:
        plane = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    return cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)


def doubled(plane: Floats, shape: tuple[int, ...]) -> Floats:
    """Twice as large, bilinear, cut to `shape`."""
    height, width = plane.shape[:2]
    grown = cv2.resize(plane, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return grown.reshape(2 * height, 2 * width, -1)[: shape[0], : shape[1]]


def smooth_fill(image: Floats, known: Bools) -> Floats:
    """`image` [h, w, 3] where known; elsewhere means of what is known nearby, from ever coarser levels."""
    if known.all() or max(known.shape) < 2:
        return image
    weight = known.astype(np.float32)[:, :, None]
    share = halved(weight[:, :, 0])
    height, width = share.shape
    value = halved(image * weight).reshape(height, width, -1) / np.maximum(share, np.float32(1e-6))[:, :, None]
    coarse = smooth_fill(value.astype(np.float32), share > 0)
    return np.where(known[:, :, None], image, doubled(coarse, known.shape))
