"""A guide that a network painted: trusted where its patches look like patches of the photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core import compiled
from inpainting.engines.quick_fill.colour_cost import compute_features
from inpainting.engines.quick_fill.guide import Guide
from inpainting.engines.quick_fill.hole_graph import Bytes, Floats, HoleGraph, Ints, build_graph
from inpainting.engines.quick_fill.offsets import PATCH, PatchIndex, complete_patches, patch_features

STRIDE = 3
"""Pixels between the patches that are compared."""
TOLERANCE = 0.5
"""A patch that is as far from the photo's as theirs are from each other is trusted fully; (1 + TOLERANCE) times as far,
by 1 / e."""
BLUR = 2.0
MAX_DIFFERENCE = np.float32(120)


def make_painted_guide(graph: HoleGraph, painted: Bytes) -> Guide | None:
    """Return the guide of `painted` [h, w, 3 RGB], the whole image at a multiple of the graph's size; None without
    numba."""
    if not compiled.AVAILABLE or min(graph.shape) < PATCH:
        return None
    shown = build_graph(
        painted, np.ones(painted.shape[:2], bool), np.zeros(painted.shape[:2], bool), painted.shape[0] // graph.shape[0]
    )
    at, nearest, distance, usual = match_patches(graph, shown)
    if not len(at):
        return None
    trust = np.exp(-((np.maximum(0, distance / usual - 1) / TOLERANCE) ** 2))
    grid = np.zeros((-(-graph.shape[0] // STRIDE), -(-graph.shape[1] // STRIDE)), np.float32)
    count = grid.copy()
    # a patch speaks for its middle
    cells = np.minimum((at + PATCH // 2) // STRIDE, np.array(grid.shape) - 1)
    np.add.at(grid, (cells[:, 0], cells[:, 1]), trust.astype(np.float32))
    np.add.at(count, (cells[:, 0], cells[:, 1]), 1)
    weights = cv2.GaussianBlur(count, (0, 0), 1.5)
    grid = cv2.GaussianBlur(grid, (0, 0), 1.5) / np.maximum(weights, np.float32(1e-6))
    confidence = cv2.resize(grid, graph.shape[::-1], interpolation=cv2.INTER_LINEAR)
    features, _ = compute_features(shown)
    return Guide(cv2.GaussianBlur(features, (0, 0), BLUR), confidence, (nearest - at).astype(np.int32), MAX_DIFFERENCE)


def match_patches(graph: HoleGraph, shown: HoleGraph) -> tuple[Ints, Ints, Floats, float]:
    """Return (places [n, 2] of patches in the hole, those of the most similar known ones, their distances [n], the
    usual distance between known ones around the hole)."""
    kernel = np.ones((PATCH, PATCH), np.uint8)
    completed = np.where(graph.hole[:, :, None], shown.features[:, :, :3], graph.features[:, :, :3])
    features = patch_features(completed.astype(np.float32))
    known = complete_patches(graph.known)
    height, width = known.shape
    lattice = np.zeros_like(known)
    lattice[::STRIDE, ::STRIDE] = True
    near = cv2.dilate(graph.hole.view(np.uint8), np.ones((31, 31), np.uint8))[:height, :width] > 0
    touching = cv2.dilate(graph.hole.view(np.uint8), kernel, anchor=(PATCH - 1, PATCH - 1))[:height, :width] > 0
    index = PatchIndex(features, known)

    def distances(at: Ints, min_distance: int) -> tuple[Ints, Ints, NDArray[np.float64]]:
        found = index.nearest(at, min_distance, lambda share: None)
        at, found = at[found >= 0], found[found >= 0]
        difference = index.features[at[:, 0], at[:, 1]] - index.patches[found].astype(np.float64)
        return at, index.places[found], (difference**2).sum(axis=1)

    inside = np.argwhere(lattice & touching & complete_patches(graph.known | graph.hole)).astype(np.int32)
    around = np.argwhere(lattice & near & known).astype(np.int32)
    inside, nearest, distance = distances(inside, 0)
    _, _, usual = distances(around, PATCH)
    median = float(np.sqrt(np.median(usual))) if len(usual) else 0.0
    return inside, nearest, np.sqrt(distance).astype(np.float32), max(1.0, median)
