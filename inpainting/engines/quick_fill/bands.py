"""Continues an image beyond its edges: fills the bands of a mask that reach from corner to corner, as in outpainting.

A band has known pixels on one side only. What is copied into it should be what surrounds the scene, not the scene: a
second face or cup looks copied at once, a second stretch of grass does not. So a pixel costs more the less its
surroundings look like the image's rim, and the deeper it lies in it.

The strip beside the band is there a second time, mirrored. Mirrored at the edge it fits everywhere, and it doubles what
there is to copy, so that less of it is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.engines.quick_fill.labelling.hole_graph import IMPOSSIBLE, Bools, Bytes, Floats, HoleGraph, Ints

Scalar = TypeVar("Scalar", bound=np.generic)

STRIPS = (1.0, 1.5)
"""Breadths of the band, for those at the top and bottom and those at the left and right: sources lie at most this deep
in the image, or MIN_STRIP pixels if that is more. What lies in the middle is not copied."""
MIN_STRIP = 96
STRIP_UNIT = 12
"""Pixels: strips are a multiple of it, so that mirrored sources are at whole pixels on the coarse levels too."""
MARGIN = 24
"""Pixels behind the mirror image, with which the surroundings of mirrored sources are compared. They repeat the edge,
so that mirroring costs as much as a seam where the image has detail at its edge: its symmetry would show."""
UNIQUE_COST = np.float32(1)
"""Data cost of a source for each squared level of its uniqueness. The costs were chosen by eye on the photos in
docs/use/outpainting.md: with a quarter of it paws and tails are repeated in the grass."""
DEPTH_COST = 8.0
"""Data cost of a source one breadth of the band away from the image's edge."""
UP_COST, ALONG_COST = 60.0, 20.0
"""Data cost of a source one breadth of the band further up or down, for bands at the left and right, and further to the
side, for those at the top and bottom: images change more with height than sideways."""
STEPS = (0.5, 0.75, 1.0, 1.25)
SIDESTEPS = (0.0, 0.4, -0.4)
"""Breadths of the band: offsets that are always tried, inward; for bands at the top and bottom also along the edge."""
MIRROR_COST = (4.0, 3.0)
"""Data cost of a mirrored source, for bands at the top and bottom (upside down) and at the left and right."""
OBLIQUE_COST = np.float32(5)
"""Data cost of a mirrored source for each level of its `obliqueness`: a mirrored oblique line has a kink."""
OBLIQUE_BLUR = 2.5
"""Standard deviation, in pixels of the coarse level, of the Gaussian that obliqueness is averaged with."""
MIRROR_STEPS = (0.0, 0.3)
MIRROR_SIDESTEPS = (0.0, 0.2, -0.2)
"""Breadths of the band: how far inward from the edge, and along it, the mirrored strip is always tried."""


@dataclass(frozen=True, slots=True)
class PlacedBand:
    """A band in the image."""

    axis: int  # 0 at the top or bottom, 1 at the left or right
    inward: int  # 1 or -1, from the band to the image along this axis
    breadth: int
    canvas: Box  # the band, its sources and what lies behind them
    known: Box  # the pixels to copy from

    @property
    def box(self) -> Box:
        return self._from_edge(self.breadth)

    @property
    def strip(self) -> int:
        """Pixels from the edge up to which sources lie."""
        side = (self.known.size.height, self.known.size.width)[self.axis]
        strip = min(side, max(MIN_STRIP, int(STRIPS[self.axis] * self.breadth)))
        return strip if strip < STRIP_UNIT else strip // STRIP_UNIT * STRIP_UNIT

    @property
    def around(self) -> Box:
        """The band and the strip of known pixels beside it."""
        return self._from_edge(self.breadth + self.strip)

    @property
    def length(self) -> int:
        """Pixels along the axis of the band, the strip, its mirror image and the margin."""
        return self.breadth + 2 * self.strip + MARGIN

    @property
    def area(self) -> int:
        return self.length * (self.box.size.area // self.breadth)

    def _from_edge(self, pixels: int) -> Box:
        """Return the part of the canvas up to that far from the edge at which the band lies."""
        edges = [self.canvas.left, self.canvas.top, self.canvas.right, self.canvas.bottom]
        if self.inward > 0:
            edges[3 - self.axis] = edges[1 - self.axis] + pixels
        else:
            edges[1 - self.axis] = edges[3 - self.axis] - pixels
        return Box(*edges)

    def hole(self) -> Bools:
        """Return the band in `with_mirror`'s image."""
        size = self.box.size
        hole = np.zeros((self.length, size.width) if self.axis == 0 else (size.height, self.length), bool)
        self.unmirrored(hole)[self.box.relative_to(self.around).slices] = True
        return hole

    def with_mirror(self, image: Bytes) -> Bytes:
        """Return a copy of `image`'s part `around`, and behind it the strip's mirror image and its edge drawn out."""
        return self._extended(image[self.around.slices], self.breadth, self.strip, MARGIN)

    def unmirrored(self, plane: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the part `around` of an array that is laid out as `with_mirror`'s image is."""
        end = self.breadth + self.strip
        part = slice(0, end) if self.inward > 0 else slice(-end, None)
        return plane[part] if self.axis == 0 else plane[:, part]

    def band(self, levels: Floats) -> Band:
        """Return the band for a graph.

        levels: the uniqueness of `known`, at any scale.
        """
        scale = levels.shape[self.axis] / (self.known.size.height, self.known.size.width)[self.axis]
        breadth, strip, margin = (max(1, round(scale * part)) for part in (self.breadth, self.strip, MARGIN))
        ends = [(0, 0), (0, 0)]
        ends[self.axis] = (breadth, 0) if self.inward > 0 else (0, breadth)
        near = slice(0, strip) if self.inward > 0 else slice(-strip, None)
        padded = np.pad(levels[near] if self.axis == 0 else levels[:, near], ends)
        levels = self._extended(padded, breadth, strip, margin)
        return Band(self.axis, self.inward, self.breadth, self.strip, levels)

    def _extended(self, plane: NDArray[Scalar], breadth: int, strip: int, margin: int) -> NDArray[Scalar]:
        band, known = np.split(plane, [breadth if self.inward > 0 else strip], axis=self.axis)[:: self.inward]
        for pixels, mode in ((strip, "symmetric"), (margin, "edge")):
            ends = [(0, 0)] * plane.ndim
            ends[self.axis] = (0, pixels) if self.inward > 0 else (pixels, 0)
            known = np.pad(known, ends, mode)  # type: ignore[call-overload] # takes a literal
        return np.concatenate([band, known][:: self.inward], axis=self.axis)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A band at the scale of a graph; see `PlacedBand` for `axis`, `inward`, `breadth` and `strip`."""

    axis: int
    inward: int
    breadth: int
    strip: int
    uniqueness: Floats  # of `with_mirror`'s image, [h, w] at any scale

    def offsets(self, graph: HoleGraph) -> Ints:
        """Return [k, 2]: offsets to try besides those by which the image repeats itself."""
        scale = self.scale(graph)
        sidesteps = SIDESTEPS if self.axis == 0 else (0.0,)
        steps = [(step * self.breadth, side) for step in STEPS for side in sidesteps]
        steps += [(2 * self.strip - step * self.breadth, side) for step in MIRROR_STEPS for side in MIRROR_SIDESTEPS]
        across, along = (np.array(part) for part in zip(*steps, strict=True))
        columns = [self.inward * across / scale, along * self.breadth / scale]
        return np.rint(np.column_stack(columns if self.axis == 0 else columns[::-1])).astype(np.int32)

    def costs(self, graph: HoleGraph, offsets: Ints) -> Floats:
        """Return [k, nodes]: the cost of copying from that far, from what is that unique and from what is mirrored."""
        breadth = self.breadth / self.scale(graph)
        height, width = graph.shape
        depth, original_depth = self._depths(graph)
        plane = UNIQUE_COST * cv2.resize(self.uniqueness, (width, height), interpolation=cv2.INTER_LINEAR) ** 2
        plane += (DEPTH_COST / breadth * original_depth).astype(np.float32)
        plane += (depth != original_depth) * (np.float32(MIRROR_COST[self.axis]) + OBLIQUE_COST * obliqueness(graph))
        plane[np.broadcast_to(depth >= 2 * self.strip // self.scale(graph), plane.shape)] = IMPOSSIBLE
        along_cost = ALONG_COST if self.axis == 0 else UP_COST
        costs = np.empty((len(offsets), len(graph.rows)), np.float32)
        for cost, offset in zip(costs, offsets, strict=True):
            cost[:] = plane.ravel()[np.maximum(graph.source(slice(None), offset), 0)]
            cost += along_cost / breadth * abs(int(offset[1 - self.axis]))
        return costs

    def without_margin(self, graph: HoleGraph) -> Bools:
        """Return [h, w]: the known pixels but for the margin, which would match the strip everywhere."""
        depth, _ = self._depths(graph)
        return graph.known & (depth < 2 * self.strip // self.scale(graph))

    def originals(self, graph: HoleGraph) -> Ints:
        """Return [h, w]: the flat index of each pixel, for mirrored ones and the margin of the pixel that they
        repeat."""
        at = np.indices(graph.shape, np.int32)
        depth, original_depth = self._depths(graph)
        at[self.axis] += self.inward * (original_depth - depth)
        return at[0] * np.int32(graph.shape[1]) + at[1]

    def _depths(self, graph: HoleGraph) -> tuple[Ints, Ints]:
        """Return how far from the edge pixels lie inward, and those that they repeat do: two [h, 1] or [1, w]."""
        scale, at = self.scale(graph), np.arange(graph.shape[self.axis], dtype=np.int32)
        strip = self.strip // scale
        depth = at - -(-self.breadth // scale) if self.inward > 0 else (MARGIN // scale + 2 * strip - 1) - at
        depth = depth.reshape((-1, 1) if self.axis == 0 else (1, -1))
        return depth, np.minimum(depth, np.maximum(2 * strip - 1 - depth, 0))

    def scale(self, graph: HoleGraph) -> int:
        """Return the pixels of the image to a side of the graph's."""
        return max(1, round((self.breadth + 2 * self.strip + MARGIN) / graph.shape[self.axis]))


def obliqueness(graph: HoleGraph) -> Floats:
    """Return [h, w]: how strong lines are that are neither horizontal nor vertical, in levels.

    The mixed element of the structure tensor: J. Bigün, G. Granlund, "Optimal Orientation Detection of Linear Symmetry"
    (ICCV 1987).
    """
    across, down = (graph.features[:, :, channel].astype(np.float32) for channel in (3, 4))
    return np.sqrt(abs(cv2.GaussianBlur(across * down, (0, 0), OBLIQUE_BLUR)))


def kept_box(known: Box, image: Size, min_breadth: float) -> Box:
    """Return the box around the known pixels, enlarged to each edge of the image that is no further than
    `min_breadth`."""
    return Box(
        known.left if known.left > min_breadth else 0,
        known.top if known.top > min_breadth else 0,
        known.right if image.width - known.right > min_breadth else image.width,
        known.bottom if image.height - known.bottom > min_breadth else image.height,
    )


def bands_around(kept: Box, image: Size) -> list[PlacedBand]:
    """Return the bands in the order to fill them in: left and right, then top and bottom over the whole width."""
    width, height = image.width, image.height
    across = Box(0, kept.top, width, kept.bottom)
    sides = (
        (kept.left, 1, 1, across, kept),
        (width - kept.right, 1, -1, across, kept),
        (kept.top, 0, 1, Box.whole(image), across),
        (height - kept.bottom, 0, -1, Box.whole(image), across),
    )
    return [PlacedBand(axis, inward, breadth, *boxes) for breadth, axis, inward, *boxes in sides if breadth]
