"""A membrane: values known on a line, carried as smoothly as possible over everything the line encloses.

The harmonic interpolation (Laplace's equation with Dirichlet values on the line) of Perez, Gangnet and Blake, "Poisson
Image Editing" (SIGGRAPH 2003), section 2: adding it to a patch leaves the patch's gradients as they are and lifts its
border onto the picture around it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SWEEPS = 24
SLOWEST = 0.02
"""Each level's sweeps damp the errors whose eigenvalue of I - J (J: the mean of the four neighbours) is from SLOWEST to
2, waves up to 22 pixels long, to a sixtieth; longer ones are short enough on a coarser level."""


class Membrane:
    """The smoothest surface [height, width, channels] through `values` [points, channels] at `rows`, `columns`.

    Points must be sorted by row (as `np.nonzero` gives them), at least one. All other pixels are free; the picture's
    border is free too (no slope across it). Solved coarse to fine (nested iteration; Bornemann and Deuflhard, "The
    cascadic multigrid method", 1996), channel by channel, and at full size in strips of rows on demand, so that a patch
    of 40 megapixels never needs an array of floats of its own size. Against a direct solution of the same equations
    the mean error on smooth values is under 1 % of their range.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        values: NDArray[np.float32],
    ) -> None:
        self._shape = shape
        self._rows, self._columns, self._values = rows, columns, values
        self._kernels = _kernels()
        self._coarse = [self._solve(*self._halved(channel)) for channel in range(values.shape[1])]

    def strip(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Rows top to bottom of the surface: [bottom - top, width, channels]."""
        height, width = self._shape
        # A sweep carries a pixel one row far, and resizing is wrong in the last row before a cut: wide enough a rim
        # makes the strip what it would be in the whole.
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
            fine = self._relaxed(_doubled(coarse[first // 2 : (last + 1) // 2], known.shape), values, known)
            surface[:, :, channel] = fine[top - first : bottom - first]
        return surface

    def at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
        """The surface at some places, in any order: [places, channels]."""
        values = np.empty((len(rows), len(self._coarse)), np.float32)
        for top, bottom in strips(*self._shape):
            here = (rows >= top) & (rows < bottom)
            if here.any():
                values[here] = self.strip(top, bottom)[rows[here] - top, columns[here]]
        return values

    def _halved(self, channel: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The known values at half size, straight from the list of points."""
        shape = (self._shape[0] + 1) // 2, (self._shape[1] + 1) // 2
        at = self._rows // 2, self._columns // 2
        total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        np.add.at(total, at, self._values[:, channel])
        np.add.at(count, at, np.float32(1))
        return _mean(total, count)

    def _solve(self, values: NDArray[np.float32], known: NDArray[np.uint8]) -> NDArray[np.float32]:
        if max(values.shape) == 1:
            return values
        height, width = values.shape
        even = [
            cv2.copyMakeBorder(part, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=0).reshape(
                height + height % 2, width + width % 2
            )
            for part in (values * known, known.astype(np.float32))
        ]
        shape = (height + 1) // 2, (width + 1) // 2
        total, count = (cv2.resize(part, shape[::-1], interpolation=cv2.INTER_AREA).reshape(shape) for part in even)
        coarse = self._solve(*_mean(total, count))
        return self._relaxed(_doubled(coarse, values.shape), values, known)

    def _relaxed(
        self, surface: NDArray[np.float32], values: NDArray[np.float32], known: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        cv2.copyTo(values, known, surface)
        for kernel in self._kernels:
            surface = cv2.filter2D(surface, -1, kernel, borderType=cv2.BORDER_REPLICATE).reshape(values.shape)
            cv2.copyTo(values, known, surface)
        return surface


def _kernels() -> list[NDArray[np.float32]]:
    """Relaxations u + w (J u - u) whose weights w are the reciprocals of Chebyshev's nodes on SLOWEST..2.

    So the product of all sweeps is the polynomial that is least over that range (Young, "On Richardson's method",
    1953; for images "scheduled relaxation Jacobi", Yang and Mittal 2014). Long and short steps take turns: one long
    step alone amplifies short waves, and their growth must not outrun float32.
    """
    nodes = np.cos(np.pi * (2 * np.arange(1, SWEEPS + 1) - 1) / (2 * SWEEPS))
    weights = 1 / ((2 + SLOWEST) / 2 + (2 - SLOWEST) / 2 * nodes)  # short steps first
    turns = [weights[i // 2] if i % 2 else weights[-1 - i // 2] for i in range(SWEEPS)]
    return [np.array([[0, w / 4, 0], [w / 4, 1 - w, w / 4], [0, w / 4, 0]], np.float32) for w in turns]


def _mean(total: NDArray[np.float32], count: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    known = count > 0
    return np.divide(total, count, out=np.zeros_like(total), where=known), known.view(np.uint8)


def _doubled(coarse: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """At twice the size, less the row or column that an odd shape has not."""
    height, width = coarse.shape
    doubled = cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(doubled.reshape(2 * height, 2 * width)[: shape[0], : shape[1]])


def strips(height: int, width: int) -> list[tuple[int, int]]:
    """Top and bottom of horizontal strips of about a megapixel: what is kept as float at any one time."""
    rows = max(2**20 // width, 64)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]
