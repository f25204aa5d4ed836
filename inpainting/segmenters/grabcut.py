"""Selects an object by points on and beside it, a box around it, or a rough outline.

From the first point, `proposals` makes sets of regions that may be the object, and what those agree on that look most
like one (`ranking`) is the guess, whose edge GrabCut moves (`cutting`). Each further point adds what is there, or takes
it away, in the same way, so a point on the object never removes pixels and one beside it never adds any. In a box the
better one of two masks of GrabCut is taken.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import TypeVar

import cv2
import numpy as np

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.resizing import resize_pixels
from inpainting.segmenters import cutting, geodesic, ranking, walker
from inpainting.segmenters.base import Candidate, Hint, Point, Selection, box_around
from inpainting.segmenters.cutting import GUESS_ERROR, MARGIN, POINT_RADIUS, RGB, WORKING_SIDE
from inpainting.segmenters.proposals import PLACE, Scene, place_prior, prior_at, proposals_at
from inpainting.segmenters.walker import Regions

SAME = 0.9
"""Overlap from which on two candidates are one."""
SMALLER, LARGER = 0.7, 1.4
"""Areas of a part and of a group, at most and at least, compared with that of the object."""
RADIUS = 0.3
"""Of what a further point changes, in shares of the longer side: the one that fits most objects."""
FEW = 2
"""How much longer an image is than the window around a box, at most, for colours of the whole image."""
GAP = 0.3
"""Cost of a gap between a mask and its box, in shares of the box, beside what `ranking.score` sums up."""
MAX_SCENES = 8
"""Images of which the regions are kept for further points; each takes about 6 MB."""
K = TypeVar("K")
V = TypeVar("V")
MAX_MASKS = 16
"""Masks that are kept for further points, one bit for each pixel."""


class GrabCut:
    name = "grabcut"
    label = "GrabCut"
    reads = needs = frozenset({Hint.POINTS, Hint.BOX, Hint.OUTLINE})

    def segment(self, image: CanonicalImage, selection: Selection) -> Mask:
        return Finder(to_rgb8(image)).mask(selection)

    def candidates(self, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        """From one point: the object, a part of it and a group with it, where they are found. They are not rated."""
        finder = Finder(to_rgb8(image))
        masks = [finder.mask(selection)]
        if len(selection.points) == 1 and selection.box is None and not selection.outline:
            masks += finder.alternatives(selection, masks[0])
        return [Candidate(mask) for mask in masks]


def create() -> GrabCut:
    return GrabCut()


_scenes: OrderedDict[bytes, Scene] = OrderedDict()
_masks: OrderedDict[Hashable, Mask] = OrderedDict()
_lock = threading.Lock()


class Finder:
    """Finds objects in one image: RGB [height, width, 3]."""

    def __init__(self, image: RGB) -> None:
        self.image, self.bounds = image, Box(0, 0, image.shape[1], image.shape[0])
        self.scale = min(1.0, WORKING_SIDE / self.bounds.size.longer)
        self.small = resize_pixels(image, cutting.scaled_size(self.bounds.size, self.scale))
        self.key = blake2b(self.small.tobytes(), salt=str(self.small.shape[1]).encode()).digest()
        with _lock:
            scene = _scenes.get(self.key)
        self.scene = scene or Scene(geodesic.make_graph(self.small))
        with _lock:
            keep(_scenes, self.key, self.scene, MAX_SCENES)

    def mask(self, selection: Selection) -> Mask:
        """The mask of a selection: of its box, outline or first point on the object, changed by each further point."""
        points = selection.points
        is_framed = bool(selection.outline) or selection.box is not None
        least = 0 if is_framed else 1 + next(index for index, point in enumerate(points) if point.is_object)
        keys = [
            (self.key, self.bounds.size, selection.box, selection.outline, points[:count])
            for count in range(len(points) + 1)
        ]
        known = (count for count in range(len(points), least - 1, -1) if self.is_remembered(keys[count]))
        count = next(known, least)
        mask = self.remembered(keys[count])
        if mask is None:
            mask = self.first_mask(selection, points[:count], is_framed=is_framed)
        for index in range(count, len(points)):
            self.remember(keys[index], mask)
            self.change(mask, points[: index + 1])
        self.remember(keys[-1], mask)
        return mask

    def first_mask(self, selection: Selection, points: Sequence[Point], *, is_framed: bool) -> Mask:
        if selection.outline:
            return self.cut_in(bounds_of(selection.outline, self.bounds), selection)
        if selection.box is not None:
            return self.mask_in_box(selection.box)
        return self.mask_of(self.rank(points)[2], points)

    def rank(self, points: Sequence[Point]) -> tuple[list[Regions], list[float], Regions]:
        """The proposals at the last point, their scores, and what they agree on; its region alone where none is left.

        points: the last one is on the object, those before it beside it.
        """
        graph, start = self.scene.graph, self.region(points[-1])
        others = {self.region(point) for point in points[:-1]} - {start}
        alone = np.arange(len(graph.areas)) == start
        domain = np.ones(len(graph.areas), np.bool_)
        domain[sorted(others)] = False
        rivals = np.array(sorted({*graph.border, *others} - {start}), np.int64)
        proposals = (proposals_at(self.scene, start, rivals, domain) if len(rivals) else []) or [alone]
        scores = [ranking.score(self.scene, proposal, start) for proposal in proposals]
        return proposals, scores, self.scene.component(ranking.agreed(proposals, scores) | alone, start)

    def mask_of(self, regions: Regions, points: Sequence[Point]) -> Mask:
        """The mask of an object of about these regions."""
        guess = np.where(regions[self.scene.graph.labels], np.uint8(255), np.uint8(0))
        box = self.bounds_of(guess)
        for point in points:
            if point.is_object:
                box = box.union(pixel_of(point, self.bounds))
        return self.cut_in(box, Selection(tuple(points)), (guess, self.scale))

    def cut_in(self, box: Box, selection: Selection, guess: tuple[Mask, float] | None = None) -> Mask:
        """What GrabCut finds in a box, an outline or around a guess."""
        window = self.window_around(box)
        mask = np.zeros(self.image.shape[:2], np.uint8)
        mask[window.slices] = cutting.cut(self.image[window.slices], window, box, guess, selection)
        return mask

    def mask_in_box(self, box: Box) -> Mask:
        """The better one of what GrabCut finds in the box, with colours from around it and from the whole image.

        The latter is not tried for a small box, whose object would have few pixels of the reduced image.
        """
        selection = Selection(box=box)
        near = self.cut_in(box, selection)
        if FEW * self.window_around(box).size.longer < self.bounds.size.longer:
            return near
        far = cutting.cut(self.image, self.bounds, box, None, selection)
        return max((near, far), key=lambda mask: self.fit(mask, box))

    def fit(self, mask: Mask, box: Box) -> float:
        """How much a mask looks like an object that fills its box."""
        width, height = cv2.boundingRect(mask[box.slices])[2:]
        regions = self.covered(mask)
        if not regions.any() or regions.all():
            return -math.inf
        gaps = 2 - (width / box.size.width + height / box.size.height)
        start = int(self.scene.graph.labels[deepest(regions[self.scene.graph.labels])])
        return ranking.score(self.scene, regions, start) - GAP * gaps

    def change(self, mask: Mask, points: Sequence[Point]) -> None:
        """Add to a mask what is at the last point, or take it away; nothing where the mask has it so already."""
        point, graph, pixel = points[-1], self.scene.graph, pixel_of(points[-1], self.bounds)
        if (mask[pixel.top, pixel.left] > 0) == point.is_object:
            return
        start, covered = self.region(point), self.covered(mask)
        opposed = [self.region(other) for other in points if other.is_object != point.is_object]
        regions = (self.walk_from(points, covered) == point.is_object) & (covered != point.is_object)
        regions[opposed] = False
        regions[start] = True
        piece = np.where(self.scene.component(regions, start)[graph.labels], np.uint8(255), np.uint8(0))
        window = self.window_around(self.bounds_of(piece).union(pixel))
        part = mask[window.slices]
        differs = cutting.changed(self.image[window.slices], window, part, (piece, self.scale), points)
        if point.is_object:
            part |= differs
        else:
            part &= ~differs

    def walk_from(self, points: Sequence[Point], covered: Regions) -> Regions:
        """What a walk from all points finds.

        covered: by the mask; where no point is on the object, it starts at the region of it that is farthest from all
        points.
        """
        graph = self.scene.graph
        others = {self.region(point) for point in points if not point.is_object}
        objects = {self.region(point) for point in points if point.is_object} - others
        if not objects:
            objects = {int(np.argmax(geodesic.distances(graph, others) * covered))} - others
        rivals = np.array(sorted({*graph.border, *others} - objects), np.int64)
        domain = np.ones(len(graph.areas), np.bool_)
        domain[sorted(others)] = False
        if not objects or not len(rivals):
            return domain
        starts = sorted(objects)
        prior = prior_at(graph, starts, rivals) + PLACE * place_prior(graph, starts, RADIUS)
        return walker.walk(self.scene.weights, prior, starts, domain)

    def alternatives(self, selection: Selection, mask: Mask) -> list[Mask]:
        """A part of the object and a group with it: the best proposals of clearly another size."""
        proposals, scores, best = self.rank(selection.points)
        areas = self.scene.graph.areas
        sizes = [areas[proposal].sum() / areas[best].sum() for proposal in proposals]
        found: list[Mask] = []
        for fits in ([size <= SMALLER for size in sizes], [size >= LARGER for size in sizes]):
            if any(fits):
                index = max(np.flatnonzero(fits), key=lambda index: scores[index])
                other = self.mask_of(proposals[index], selection.points)
                if not any(is_same(other, known) for known in (mask, *found)):
                    found.append(other)
        return found

    def covered(self, mask: Mask) -> Regions:
        """The regions of which a mask covers more than half."""
        labels = self.scene.graph.labels
        small = cv2.resize(mask, labels.shape[::-1], interpolation=cv2.INTER_NEAREST) > 127
        shares = np.bincount(labels.ravel(), small.ravel(), len(self.scene.graph.areas)) / self.scene.graph.areas
        found: Regions = shares > 0.5
        return found

    def region(self, point: Point) -> int:
        height, width = self.small.shape[:2]
        return self.scene.graph.region(
            min(int(point.x * self.scale), width - 1), min(int(point.y * self.scale), height - 1)
        )

    def bounds_of(self, guess: Mask) -> Box:
        """Of a guess at the working size, in the image."""
        left, top, width, height = cv2.boundingRect(guess)
        edges = left - GUESS_ERROR, top - GUESS_ERROR, left + width + GUESS_ERROR, top + height + GUESS_ERROR
        floored = [math.trunc(edge / self.scale) for edge in edges[:2]]
        return Box(*floored, *(math.ceil(edge / self.scale) for edge in edges[2:])).clipped(self.bounds)

    def window_around(self, box: Box) -> Box:
        return box.expanded(math.ceil(MARGIN * box.size.longer) + 2 * POINT_RADIUS).clipped(self.bounds)

    def is_remembered(self, key: Hashable) -> bool:
        with _lock:
            return key in _masks

    def remembered(self, key: Hashable) -> Mask | None:
        with _lock:
            bits = _masks.get(key)
        if bits is None:
            return None
        height, width = self.image.shape[:2]
        return np.unpackbits(bits, count=height * width).reshape(height, width) * np.uint8(255)

    def remember(self, key: Hashable, mask: Mask) -> None:
        bits = np.packbits(mask)
        with _lock:
            keep(_masks, key, bits, MAX_MASKS)


def keep(kept: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Keep a value as the last used one, and drop those that were not used for longest."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)


def forget() -> None:
    """Drop what is kept of images and masks."""
    with _lock:
        _scenes.clear()
        _masks.clear()


def is_same(plane: Mask, other: Mask) -> bool:
    either = np.count_nonzero(plane | other)
    return bool(np.count_nonzero(plane & other) >= SAME * either)


def deepest(inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, int]:
    """The row and column of the pixel that is farthest from the border of a mask."""
    padded = cv2.copyMakeBorder(inside.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1])
    return y, x


def bounds_of(corners: Sequence[tuple[float, float]], image: Box) -> Box:
    """The pixels that an outline touches. Raises InvalidRequest, `field_out_of_range`, for one outside the image."""
    (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
    try:
        return box_around(left, top, max(right, left + 1), max(bottom, top + 1)).clipped(image)
    except InvalidRequest as error:
        message = f"outline lies outside the image, which is {image.size}."
        raise InvalidRequest(message, code="field_out_of_range", field="outline") from error


def pixel_of(point: Point, image: Box) -> Box:
    x, y = min(int(point.x), image.right - 1), min(int(point.y), image.bottom - 1)
    return Box(x, y, x + 1, y + 1)
