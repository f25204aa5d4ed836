"""The seam score: how visible the edge between painted and kept pixels is, as a number."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.image import CanonicalImage, Mask, Pixels

SEGMENT = 16
"""Pixels of edge over which a jump is averaged with its sign: the eye joins a step that keeps its direction into a
line, and overlooks one as large in texture, where the sign changes from pixel to pixel."""

MAX_PAIRS = 1_000_000
"""A longer edge is measured in every n-th row of segments: a checkerboard of 40 megapixels has 80 million pairs."""

NATURAL_FLOOR = 1.0
"""Levels of 255: a clear sky does not vary, yet a step of one level is invisible even there."""


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """All pairs of a repainted pixel and a known 4-neighbour, and how much the known side varies by itself."""

    # `rows`, `columns`: the repainted pixel of each pair.
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    beside: NDArray[np.float32]  # the known one's colour, [pairs, channels] in levels 0-255
    segment: NDArray[np.intp]  # the number of the edge segment that a pair belongs to
    natural: float  # the mean jump between known pixels nearby

    @classmethod
    def around(
        cls, colour: Pixels, inside: NDArray[np.bool_], known: NDArray[np.bool_], corner: tuple[int, int] = (0, 0)
    ) -> Seam:
        """Return the edge of `inside` [height, width] against `known` in `colour` [height, width, 1 or 3].

        corner: left and top of these arrays in the image, so that a part of it is measured in the same segments.
        """
        height, width = inside.shape
        beside_edge = true_pixels(_measured_rows(inside) & (inside != _erode(inside)))
        found = [_pairs(*beside_edge, known, *step) for step in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        rows, columns, down, across = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if not rows.size:
            return cls(rows, columns, np.zeros((0, colour.shape[2]), np.float32), rows, 0.0)
        left, top = corner[0] % SEGMENT, corner[1] % SEGMENT
        segment = (rows + top) // SEGMENT * ((width + left) // SEGMENT + 1) + (columns + left) // SEGMENT

        def at(steps: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            y, x = rows + steps * down, columns + steps * across
            there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
            return levels(colour[y, x]), there & known[y, x]

        (first, _), (second, has_second), (third, has_third) = at(1), at(2), at(3)
        steps = np.concatenate([(first - second)[has_second], (second - third)[has_second & has_third]])
        # Two pixels deep, each row averaged by itself, as the edge is one pixel deep.
        where = np.concatenate([segment[has_second], segment[has_second & has_third] + segment.max() + 1])
        return cls(rows, columns, first, segment, _mean_jump(steps, where))

    def score(self, painted: NDArray[np.float32]) -> float:
        """Return the seam score with these colours ([pairs, channels], levels) at `rows`, `columns`; see
        `seam_score`."""
        return _mean_jump(painted - self.beside, self.segment) / (2 * (self.natural + NATURAL_FLOOR))


def seam_score(image: CanonicalImage, mask: Mask) -> float:
    """Return the visibility of the mask's edge in an image: visible from 1 on, lower is better, 0 if there is no edge.

    J: over all pairs of 4-neighbours p (mask > 0) and q (mask = 0), the difference of colour p - q, averaged with its
    sign over segments of 16 pixels of edge, its root mean square over the channels averaged over the segments, each by
    its number of pairs. N: the same, of the two next pairs further out, both kept: the image's own variation nearby,
    which no painting changes. The score is J / 2(N + 1), in levels of 255: at 1 the edge jumps twice as much as its
    surroundings do (or by two levels where these are flat). A natural continuation scores about 0.5 or less.
    Transparent kept pixels are left out.
    """
    inside, colour, alpha = mask > 0, image.colour, image.alpha
    known = ~inside if alpha is None else ~inside & (alpha > 0)
    seam = Seam.around(colour, inside, known)
    return seam.score(levels(colour[seam.rows, seam.columns]))


def levels(pixels: Pixels) -> NDArray[np.float32]:
    """Return 8 or 16 bits as levels 0-255: one unit for both depths, exact to a hundredth of a 16-bit step."""
    return pixels.astype(np.float32) * np.float32(1 if pixels.dtype == np.uint8 else 1 / 257)


def true_pixels(plane: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the true pixels of `plane` [height, width].

    `np.nonzero` takes six times as long, since it counts along both axes.
    """
    rows, columns = np.divmod(np.flatnonzero(plane), plane.shape[1])
    return rows, columns


def _measured_rows(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `inside`, without the rows that are left out because the edge is long."""
    edge = np.count_nonzero(inside[1:] != inside[:-1]) + np.count_nonzero(inside[:, 1:] != inside[:, :-1])
    stride = -(-edge // MAX_PAIRS)
    if stride <= 1:
        return inside
    return inside & (np.arange(len(inside)) // SEGMENT % stride == 0)[:, np.newaxis]


def _erode(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `inside` without the pixels that have a 4-neighbour outside of it; the border of the array is no edge."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.erode(inside.view(np.uint8), cross).view(np.bool_)


def _pairs(
    rows: NDArray[np.intp], columns: NDArray[np.intp], known: NDArray[np.bool_], down: int, across: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return those of these pixels whose neighbour at (down, across) is known: rows, columns, and the offset to it."""
    height, width = known.shape
    y, x = rows + down, columns + across
    there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    there[there] = known[y[there], x[there]]
    rows, columns = rows[there], columns[there]
    return rows, columns, np.full_like(rows, down), np.full_like(rows, across)


def _mean_jump(steps: NDArray[np.float32], segment: NDArray[np.intp]) -> float:
    """Return steps [n, channels] averaged with their sign in each segment; the mean size of those, each weighted by its
    n."""
    if not segment.size:
        return 0.0
    count = np.bincount(segment)
    means = np.stack([np.bincount(segment, weights=channel) for channel in steps.T]) / np.maximum(count, 1)
    return float((np.sqrt((means**2).mean(axis=0)) * count).sum() / count.sum())
