"""The weights that fade a painting in from the edge of its mask, computed in strips of rows.

Neither the weights nor the distances and components that they follow from are ever held for a whole image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.core.image import Mask

STRIP_PIXELS = 2**21
"""Weights are computed in strips of about this many pixels; those of a smaller mask all at once."""


class Feather:
    """Blending weights of the painting, 0 to 1, for a box of the mask.

    0 where the mask is 0; from the mask's edge a weight rises inward as a smoothstep (3t^2 - 2t^3) to 1 at `width`
    pixels. It never extends outward, where it would change kept pixels. A component thinner than two ramps has a
    shorter one, so that its middle is painted in full and a scratch does not remain visible.
    The image's own border is no edge. The ramp is multiplied by the mask's grey values.

    Components are those of the box and one pixel around it: with less, the mask's edge along the box would be no edge.
    """

    def __init__(self, mask: Mask, width: int, box: Box | None = None) -> None:
        whole = Box.whole(Size(mask.shape[1], mask.shape[0]))
        box = box or whole
        wide = box.expanded(1).clipped(whole)
        self._mask, self._width = mask[wide.slices], width
        self._inner = box.relative_to(wide)
        rows = max(STRIP_PIXELS // box.size.width, 2 * width, 1)
        self._strips = [(top, min(top + rows, box.size.height)) for top in range(0, box.size.height, rows)]
        self._last: tuple[int, NDArray[np.float32]] | None = None
        part = self._mask > 0
        self._is_sharp = width < 1 or bool(part.all()) or not part.any()
        self._lengths = [] if self._is_sharp else self._ramp_lengths()

    def rows(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Return rows top to bottom: [bottom - top, width of the box]. Fast where rows are asked for in their order."""
        parts = []
        for number, (first, last) in enumerate(self._strips):
            if first < bottom and top < last:
                if self._last is None or self._last[0] != number:
                    self._last = number, self._strip(number)
                parts.append(self._last[1][max(top - first, 0) : bottom - first])
        return np.concatenate(parts)

    def _strip(self, number: int) -> NDArray[np.float32]:
        top, bottom = self._strips[number]
        first, last = self._rows_of(top, bottom)
        weights = self._mask[first:last].astype(np.float32)
        weights /= np.float32(255)
        if not self._is_sharp:
            lengths = self._lengths[number]
            _, labels = self._components(first, last)
            ramp = np.clip(self._depth(first, last) / lengths[labels], 0, 1)
            weights *= ramp * ramp * (3 - 2 * ramp)
        start = self._inner.top + top - first
        return weights[start : start + bottom - top, self._inner.left : self._inner.right]

    def _rows_of(self, top: int, bottom: int) -> tuple[int, int]:
        """Return the rows of the mask that a strip of the box stands for: the first and the last have the pixel around
        it."""
        height = self._inner.size.height
        return (
            0 if top == 0 else self._inner.top + top,
            len(self._mask) if bottom == height else self._inner.top + bottom,
        )

    def _components(self, first: int, last: int) -> tuple[int, NDArray[np.int32]]:
        """Return the components of these rows alone: their count, with that of the pixels outside, and each pixel's
        number."""
        inside = (self._mask[first:last] > 0).view(np.uint8)
        count, labels = cv2.connectedComponents(inside, connectivity=8, ltype=cv2.CV_32S)
        return count, np.asarray(labels, np.int32)

    def _depth(self, first: int, last: int) -> NDArray[np.float32]:
        """Return distance to the mask's edge of the pixels in these rows, exact up to the width and larger beyond it.

        Distances are between pixel centres; the edge lies half a pixel before the first one inside.
        """
        reach = self._width + 1
        start, end = max(first - reach, 0), min(last + reach, len(self._mask))
        inside = (self._mask[start:end] > 0).view(np.uint8)
        if inside.all():
            return np.full((last - first, inside.shape[1]), reach, np.float32)
        depth = np.sqrt(squared_distances(inside)[first - start : last - start])
        depth -= np.float32(0.5)
        return depth

    def _ramp_lengths(self) -> list[NDArray[np.float32]]:
        """Return for each strip the length of the ramp in each of its components, by what the whole component has."""
        starts, deepest, pairs, above = [0], [], [], None
        for top, bottom in self._strips:
            first, last = self._rows_of(top, bottom)
            count, labels = self._components(first, last)
            found = np.zeros(count, np.float32)
            np.maximum.at(found, labels.ravel(), self._depth(first, last).ravel())
            deepest.append(found)
            if above is not None:
                pairs.append(_touching(above, np.where(labels[0] > 0, labels[0] + starts[-1], 0)))
            above = np.where(labels[-1] > 0, labels[-1] + starts[-1], 0)
            starts.append(starts[-1] + count)
        roots = _join_components(starts[-1], pairs)
        of_components = np.zeros(starts[-1], np.float32)
        np.maximum.at(of_components, roots, np.concatenate(deepest))
        lengths = np.minimum(np.maximum(of_components[roots], 0.5), np.float32(self._width))
        return np.split(lengths, starts[1:-1])


def squared_distances(inside: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the squared distance of each pixel to the nearest one that is 0, as whole numbers: exact up to a thousand
    pixels.

    OpenCV's distances differ in their last bit with the place of the array in memory (5.0, measured).
    """
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.rint(distance * distance), np.float32)


def _touching(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [pairs, 2]: the components of two rows that touch, also by a corner."""
    both = np.concatenate(
        [np.stack([above, below]), np.stack([above[1:], below[:-1]]), np.stack([above[:-1], below[1:]])], axis=1
    )
    return np.unique(both[:, (both > 0).all(axis=0)], axis=1).T


def _join_components(count: int, pairs: Sequence[NDArray[np.int64]]) -> NDArray[np.intp]:
    """Return for each of `count` components the one that stands for all that are joined with it."""
    parents = list(range(count))

    def root(component: int) -> int:
        while parents[component] != component:
            parents[component] = component = parents[parents[component]]
        return component

    for pair in pairs:
        for first, other in pair.tolist():
            parents[root(first)] = root(other)
    return np.array([root(component) for component in range(count)], np.intp)
