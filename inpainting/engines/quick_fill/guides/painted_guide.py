"""A guide that a network painted: trusted where its patches look like patches of the photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core import compiled
from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.bands import Band
from inpainting.engines.quick_fill.guides.guide import WEIGHT, Guide
from inpainting.engines.quick_fill.labelling.colour_cost import compute_features
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Bytes, Floats, HoleGraph, Ints, build_graph
from inpainting.engines.quick_fill.labelling.offsets import PATCH, PatchIndex, complete_patches, patch_features

STRIDE = 3
"""Pixels between the patches that are compared."""
BLUR = 2.0
MAX_DIFFERENCE = np.float32(120)
MEANS = [0, 10, 13]
"""Which of `patch_features` are the patch's mean colour, 8 for each level."""
USUAL_BLUR = 3.0
"""Standard deviation, in strides, of the Gaussian that usual distances are averaged with."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a painted patch may be from the photo's patches, which differ by a usual distance themselves.

    A patch at the usual distance is trusted fully; one (1 + tolerance) times as far, by 1 / e.
    """

    tolerance: float
    min_usual: float  # the usual distance, at least
    is_local: bool  # whether it is that of the patches around the hole nearest to the painted one, not that of all
    drift: float  # by how much mean colours may differ without any distance
    contrast: float  # the share of a patch's own contrast that its distance may have as well
    weight: np.float32  # of the guide


HOLE_TRUST = Trust(tolerance=0.5, min_usual=1.0, is_local=False, drift=0.0, contrast=0.0, weight=WEIGHT)
BAND_TRUST = Trust(tolerance=0.6, min_usual=24.0, is_local=True, drift=64.0, contrast=0.15, weight=2 * WEIGHT)
"""Only the guide says where objects at the edge of an image end, and their outlines are often unlike all others in it.
Networks let colours drift away from the edge. Chosen by eye: with half the weight and no contrast, coats and bowls
continue as blocks; with twice the contrast, poles that a network invented are copied together from trees."""
DOUBTFUL = 0.5
"""What is trusted less and does not begin in the image is an addition of the network. The guide then is interpolated
from what lies around it, and trusted that much."""


def make_painted_guide(graph: HoleGraph, painted: Bytes, band: Band | None = None) -> Guide | None:
    """Return the guide of `painted` [h, w, 3 RGB], the whole image at a multiple of the graph's size; None without
    numba."""
    if not compiled.AVAILABLE or min(graph.shape) < PATCH:
        return None
    shown = build_graph(
        painted, np.ones(painted.shape[:2], bool), np.zeros(painted.shape[:2], bool), painted.shape[0] // graph.shape[0]
    )
    known = graph.known if band is None else band.without_margin(graph)
    matches = match_patches(graph, shown, known)
    if not len(matches.at):
        return None
    trust = HOLE_TRUST if band is None else BAND_TRUST
    confidence = matches.confidence(trust, graph.shape)
    features, _ = compute_features(shown)
    if band is not None:
        doubtful = graph.hole & (confidence < DOUBTFUL)
        added = doubtful & ~begins_in(known, doubtful)
        features = pull_push(features, ~added)
        confidence[added] = DOUBTFUL
    features, offsets = cv2.GaussianBlur(features, (0, 0), BLUR), matches.nearest - matches.at
    return Guide(features, confidence, offsets.astype(np.int32), MAX_DIFFERENCE, trust.weight)


def begins_in(known: Bools, plane: Bools) -> Bools:
    """Return the components of `plane` [h, w] that are beside `known` [h, w] pixels."""
    _, numbers = cv2.connectedComponents(plane.view(np.uint8))
    beside = cv2.dilate(known.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return plane & np.isin(numbers, numbers[beside & plane])


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The painted patches in the hole and the most similar known ones."""

    at: Ints  # [n, 2], places of the painted patches
    nearest: Ints  # [n, 2], places of the known ones
    difference: NDArray[np.float64]  # [n, features], between both
    contrast: NDArray[np.float64]  # [n], the distance of each painted patch from its mean colour
    rim: Ints  # [m, 2], places of known patches around the hole
    rim_squared: NDArray[np.float64]  # [m], the squared distance of each from the most similar other known one

    def confidence(self, trust: Trust, shape: tuple[int, int]) -> Floats:
        """Return [shape]: 0..1."""
        difference = self.difference.copy()
        means = difference[:, MEANS]
        difference[:, MEANS] = np.maximum(0, np.abs(means) - trust.drift)
        distance = np.sqrt((difference**2).sum(axis=1)).astype(np.float32)
        usual = np.maximum(np.float32(trust.min_usual), self.usual(trust.is_local, shape))
        distance /= np.hypot(usual, trust.contrast * self.contrast).astype(np.float32)
        trusted = np.exp(-((np.maximum(0, distance - 1) / trust.tolerance) ** 2))
        mean, _ = mean_grid(self.at, trusted, shape, 1.5)
        return cv2.resize(mean, shape[::-1], interpolation=cv2.INTER_LINEAR)

    def usual(self, is_local: bool, shape: tuple[int, int]) -> Floats:
        """Return [] or [n]: the median distance between known patches around the hole, or the mean near each painted
        patch."""
        if not is_local or not len(self.rim):
            return np.asarray(np.sqrt(np.median(self.rim_squared)) if len(self.rim) else 0, np.float32)
        mean, has_mean = mean_grid(self.rim, np.sqrt(self.rim_squared), shape, USUAL_BLUR)
        rows, columns = cells_of(self.at, mean.shape)
        return pull_push(mean[:, :, None], has_mean)[rows, columns, 0]


def mean_grid(at: Ints, values: NDArray[np.floating], shape: tuple[int, int], blur: float) -> tuple[Floats, Bools]:
    """Return ([h / STRIDE, w / STRIDE], the blurred means of `values` [n] of the patches `at` [n, 2]; whether there are
    any near)."""
    grid = np.zeros((-(-shape[0] // STRIDE), -(-shape[1] // STRIDE)), np.float32)
    count = grid.copy()
    cells = cells_of(at, grid.shape)
    np.add.at(grid, cells, values.astype(np.float32))
    np.add.at(count, cells, 1)
    weights = cv2.GaussianBlur(count, (0, 0), blur)
    return cv2.GaussianBlur(grid, (0, 0), blur) / np.maximum(weights, np.float32(1e-6)), weights > 0.05


def cells_of(at: Ints, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Return the rows and columns of the patches `at` [n, 2] in a grid; a patch speaks for its middle."""
    rows, columns = np.minimum((at + PATCH // 2) // STRIDE, np.array(shape, np.int32) - 1).T
    return rows, columns


def match_patches(graph: HoleGraph, shown: HoleGraph, known: Bools) -> Matches:
    """Compare the patches in the hole with those of `known` [h, w]."""
    kernel = np.ones((PATCH, PATCH), np.uint8)
    completed = np.where(graph.hole[:, :, None], shown.features[:, :, :3], graph.features[:, :, :3])
    features = patch_features(completed.astype(np.float32))
    whole = complete_patches(known)
    height, width = whole.shape
    lattice = np.zeros_like(whole)
    lattice[::STRIDE, ::STRIDE] = True
    near = cv2.dilate(graph.hole.view(np.uint8), np.ones((31, 31), np.uint8))[:height, :width] > 0
    touching = cv2.dilate(graph.hole.view(np.uint8), kernel, anchor=(PATCH - 1, PATCH - 1))[:height, :width] > 0
    index = PatchIndex(features, whole)

    def compare(at: Ints, min_distance: int) -> tuple[Ints, Ints, NDArray[np.float64]]:
        found = index.nearest(at, min_distance, lambda share: None)
        at, found = at[found >= 0], found[found >= 0]
        difference = index.features[at[:, 0], at[:, 1]].astype(np.float64)
        difference -= index.patches[found]
        return at, index.places[found], difference

    inside = np.argwhere(lattice & touching & complete_patches(graph.known | graph.hole)).astype(np.int32)
    inside, nearest, difference = compare(inside, 0)
    rim, _, rim_difference = compare(np.argwhere(lattice & near & whole).astype(np.int32), PATCH)
    own = np.delete(features[inside[:, 0], inside[:, 1]], MEANS, axis=1).astype(np.float64)
    contrast = np.sqrt((own**2).sum(axis=1))
    return Matches(inside, nearest, difference, contrast, rim, (rim_difference**2).sum(axis=1))
