"""Smooth surfaces on the pixel grid: multigrid solvers for Laplace's and the screened Poisson equation.

Three problems that share one pair of multigrid transfer operators (`halve_size`, `double_size`) and the five-point
Laplacian:

- `HarmonicSurface`: Laplace's equation, values given at single pixels. Gradient-domain blending in compositing adds it
  to a patch: the patch keeps its gradients and meets the image around it.
- `screened_poisson`: Poisson's equation with a screening term, zero outside a hole. quick-fill removes the jumps at its
  seams with it; the screening keeps a correction near the seam that causes it.
- `pull_push`: no equation, a pyramid of local means. Far cheaper; for pixels that only need a plausible colour.

Compositing evaluates the first on patches of 40 megapixels, in strips, with values at any pixel; the second has its
unknowns in small holes and its data in the right-hand side. So each has the solver that suits it. The biharmonic fill
of thin damage (`engines.quick_fill.scratches`) is of fourth order, where these relaxations hardly converge; it takes
SciPy's sparse LU factorisation, which the core does not import.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import row_strips

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SWEEPS = 24
SLOWEST = 0.02
"""The bound of `HarmonicSurface`: each level's sweeps damp the errors whose eigenvalue of I - J (J: the mean of the
four neighbours) is from SLOWEST to 2, waves up to 22 pixels long, to a sixtieth; longer ones are short enough on a
coarser level."""

CYCLES = 6
"""The V-cycles of `screened_poisson`: under 2 % of the largest correction is left, measured against a direct solver
with forces at random places."""
SMOOTHINGS = 2
COARSEST_SMOOTHINGS = 30
OMEGA = np.float32(0.8)
"""Damping of the Jacobi sweeps: 4/5 is optimal for the five-point Laplacian (Briggs, Henson and McCormick, "A Multigrid
Tutorial", 2000, chapter 2)."""
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)


class HarmonicSurface:
    """The solution [height, width, channels] of Laplace's equation through `values` [points, channels].

    Solves u(p) = mean of u over p's four neighbours at every pixel but those at `rows`, `columns` (Dirichlet values),
    with no slope across the image's border (Neumann). This is the membrane interpolation of Perez, Gangnet and Blake,
    "Poisson Image Editing" (SIGGRAPH 2003), section 2.

    Points must be sorted by row (as `np.nonzero` gives them), at least one. Solved coarse to fine (nested iteration;
    Bornemann and Deuflhard, "The cascadic multigrid method", 1996), channel by channel, and at full size in strips of
    rows on demand, so that a patch of 40 megapixels never needs an array of floats of its own size. Against a direct
    solution of the same equations the mean error on smooth values is under 1 % of their range.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        values: Floats,
    ) -> None:
        self._shape = shape
        self._rows, self._columns, self._values = rows, columns, values
        self._kernels = _chebyshev_kernels()
        self._coarse = [self._solve(*self._half_size(channel)) for channel in range(values.shape[1])]

    def strip(self, top: int, bottom: int) -> Floats:
        """Return rows top to bottom of the surface: [bottom - top, width, channels]."""
        height, width = self._shape
        # A sweep moves information by one row, and resizing is wrong in the last row before a cut: with a rim this wide
        # the strip equals the same rows of the whole.
        rim = SWEEPS + 2
        first, last = max(top - rim, 0) // 2 * 2, min(bottom + rim, height)
        part = slice(*np.searchsorted(self._rows, (first, last)))
        known = np.zeros((last - first, width), np.uint8)
        at = self._rows[part] - first, self._columns[part]
        known[at] = 1
        surface = np.empty((bottom - top, width, len(self._coarse)), np.float32)
        for channel, coarse in enumerate(self._coarse):
            values = np.zeros(known.shape, np.float32)
            values[at] = self._values[part, channel]
            fine = self._relax(double_size(coarse[first // 2 : (last + 1) // 2], known.shape), values, known)
            surface[:, :, channel] = fine[top - first : bottom - first]
        return surface

    def at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
        """Return the surface at some pixels, in any order: [pixels, channels]."""
        values = np.empty((len(rows), len(self._coarse)), np.float32)
        for top, bottom in row_strips(*self._shape):
            here = (rows >= top) & (rows < bottom)
            if here.any():
                values[here] = self.strip(top, bottom)[rows[here] - top, columns[here]]
        return values

    def _half_size(self, channel: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Return the known values at half size and where they are, straight from the list of points."""
        shape = (self._shape[0] + 1) // 2, (self._shape[1] + 1) // 2
        at = self._rows // 2, self._columns // 2
        total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        np.add.at(total, at, self._values[:, channel])
        np.add.at(count, at, np.float32(1))
        return _mean(total, count)

    def _solve(self, values: Floats, known: NDArray[np.uint8]) -> Floats:
        if max(values.shape) == 1:
            return values
        coarse = self._solve(*_mean(halve_size(values * known), halve_size(known.astype(np.float32))))
        return self._relax(double_size(coarse, values.shape), values, known)

    def _relax(self, surface: Floats, values: Floats, known: NDArray[np.uint8]) -> Floats:
        cv2.copyTo(values, known, surface)
        for kernel in self._kernels:
            surface = cv2.filter2D(surface, -1, kernel, borderType=cv2.BORDER_REPLICATE).reshape(values.shape)
            cv2.copyTo(values, known, surface)
        return surface


def screened_poisson(
    force: Floats, hole: Bools, screening: float, on_cycle: Callable[[float], None] = lambda share: None
) -> Floats:
    """Return the u [h, w, 3] with (degree + screening) u - (sum of u over the neighbours) = force in `hole`, and 0
    elsewhere.

    degree: how many of the four neighbours lie in the image, so that its border exerts no force (Neumann); at the
    hole's edge u is 0 (Dirichlet). The screening term limits the reach of a force to about 1 / sqrt(screening) pixels
    (P. Bhat et al., "Fourier Analysis of the 2D Screened Poisson Equation for Gradient Domain Problems", ECCV 2008).

    Solved by conjugate gradients preconditioned with multigrid V-cycles (O. Tatebe, 1993). on_cycle is called with the
    share of the work that is done, 0..1.
    """
    operators = _screened_operators(hole, screening)
    mask, diagonal, _ = operators[0]
    solution = np.zeros_like(force)
    residual = force * mask
    direction, before, scale = np.zeros_like(force), residual, 0.0
    for index in range(CYCLES):
        step = _v_cycle(residual, operators)
        # Flexible conjugate gradients (Y. Notay, 2000): a V-cycle is no symmetric preconditioner.
        conjugate = _dot(step, residual - before) / scale if scale > 0 else 0.0
        direction = step + np.float32(max(0.0, conjugate)) * direction
        image = mask * _apply(direction, diagonal)
        curvature = _dot(direction, image)
        scale, before = _dot(step, residual), residual
        if curvature <= 0 or scale <= 0:
            break
        length = np.float32(_dot(direction, residual) / curvature)
        solution = solution + length * direction
        residual = residual - length * image
        on_cycle((index + 1) / CYCLES)
    return solution


def pull_push(image: Floats, known: Bools) -> Floats:
    """Return `image` [h, w, channels] where `known` [h, w]; elsewhere means of known pixels nearby, from ever coarser
    levels.

    S. Gortler, R. Grzeszczuk, R. Szeliski, M. Cohen, "The Lumigraph" (SIGGRAPH 1996), section 3.4.
    """
    if known.all() or max(known.shape) < 2:
        return image
    weight = known.astype(np.float32)[:, :, None]
    mean, found = _mean(halve_size(image * weight), halve_size(weight))
    coarse = pull_push(mean, found[:, :, 0] > 0)
    return np.where(known[:, :, None], image, double_size(coarse, known.shape))


def halve_size(plane: Floats) -> Floats:
    """Restrict to means of 2x2 blocks of [height, width, ...]; an odd last row or column is padded with zeros."""
    height, width = plane.shape[0] + plane.shape[0] % 2, plane.shape[1] + plane.shape[1] % 2
    if (height, width) != plane.shape[:2]:
        down, right = height - plane.shape[0], width - plane.shape[1]
        plane = cv2.copyMakeBorder(plane, 0, down, 0, right, cv2.BORDER_CONSTANT).reshape(
            height, width, *plane.shape[2:]
        )
    half = cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return half.reshape(height // 2, width // 2, *plane.shape[2:])


def double_size(plane: Floats, shape: tuple[int, ...]) -> Floats:
    """Prolong [height, width, ...] bilinearly to twice the size, less the row or column an odd `shape` lacks."""
    height, width = plane.shape[:2]
    doubled = cv2.resize(plane, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(doubled.reshape(2 * height, 2 * width, *plane.shape[2:])[: shape[0], : shape[1]])


def _mean(total: Floats, count: Floats) -> tuple[Floats, NDArray[np.uint8]]:
    """Return total / count where there is any count, else 0; and where that is."""
    known = count > 0
    return np.divide(total, count, out=np.zeros_like(total), where=known), known.view(np.uint8)


def _chebyshev_kernels() -> list[Floats]:
    """Return relaxations u + w (J u - u) whose weights w are the reciprocals of Chebyshev's nodes on SLOWEST..2.

    So the product of all sweeps is the polynomial that is least over that range (Young, "On Richardson's method", 1953;
    for images "scheduled relaxation Jacobi", Yang and Mittal 2014). Long and short steps alternate: one long step alone
    amplifies short waves, and their growth must not exceed the range of float32.
    """
    nodes = np.cos(np.pi * (2 * np.arange(1, SWEEPS + 1) - 1) / (2 * SWEEPS))
    weights = 1 / ((2 + SLOWEST) / 2 + (2 - SLOWEST) / 2 * nodes)  # short steps first
    alternating = [weights[i // 2] if i % 2 else weights[-1 - i // 2] for i in range(SWEEPS)]
    return [np.array([[0, w / 4, 0], [w / 4, 1 - w, w / 4], [0, w / 4, 0]], np.float32) for w in alternating]


def _screened_operators(hole: Bools, screening: float) -> list[tuple[Floats, Floats, Floats]]:
    """Return the unknowns, the operator's diagonal and the weight of a sweep on each level, finest first: three [h, w,
    3].

    For each channel, since numpy multiplies arrays of one shape several times as fast as it broadcasts a last axis.
    """
    planes = [hole.astype(np.float32)]
    while min(planes[-1].shape) > 4:
        planes.append(halve_size(planes[-1]))
    operators = []
    for level, plane in enumerate(planes):
        degree = cv2.filter2D(np.ones_like(plane), -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
        mask = (plane >= 0.5).astype(np.float32)
        diagonal = degree + np.float32(screening * 4**level)
        mask, diagonal = cv2.merge([mask] * 3), cv2.merge([diagonal] * 3)
        operators.append((mask, diagonal, OMEGA * mask / diagonal))
    return operators


def _v_cycle(force: Floats, operators: list[tuple[Floats, Floats, Floats]]) -> Floats:
    """Return one multigrid V-cycle from zero towards the solution for `force`."""
    (mask, diagonal, weight), coarser = operators[0], operators[1:]
    value = weight * force  # the first sweep from zero
    for _ in range((SMOOTHINGS if coarser else COARSEST_SMOOTHINGS) - 1):
        value += weight * (force - _apply(value, diagonal))
    if not coarser:
        return value
    residual = halve_size(mask * (force - _apply(value, diagonal))) * np.float32(4) * coarser[0][0]
    value += mask * double_size(_v_cycle(residual, coarser), mask.shape)
    for _ in range(SMOOTHINGS):
        value += weight * (force - _apply(value, diagonal))
    return value


def _apply(value: Floats, diagonal: Floats) -> Floats:
    """Return the screened Laplacian of `value` [h, w, 3]."""
    return diagonal * value - cv2.filter2D(value, -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)


def _dot(left: Floats, right: Floats) -> float:
    return float(np.einsum("ijk,ijk->", left, right, dtype=np.float64))
