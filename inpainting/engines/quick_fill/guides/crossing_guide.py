"""A guide for narrow holes, as of wires: what lies on both sides meets in them.

A. Telea, "An Image Inpainting Technique Based on the Fast Marching Method" (Journal of Graphics Tools, 2004) is too
smooth to be shown, but it does not cut the mast behind a wire.
"""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.guides.guide import BLUR, WEIGHT, Guide, costs_of_known, most_useful, sampled
from inpainting.engines.quick_fill.labelling.hole_graph import IMPOSSIBLE, Bools, Floats, HoleGraph, Ints

MAX_DEPTH = 12.0
"""Pixels from the edge of a hole: narrow ones are nowhere deeper."""
MIN_AREA = 12.0
"""Squared depths: a stroke three times as long as wide has that area, a disc pi."""
MAX_DIFFERENCE = np.float32(120)
REACH, STEP = 32, 2
"""Pixels: how far from a pixel sources are looked for that the usual offsets do not reach, and at what distances."""


def is_narrow(hole: Bools) -> bool:
    """Return whether `hole` [h, w] is nowhere deeper than MAX_DEPTH, and longer than wide."""
    depth = float(cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, 3).max())
    return depth <= MAX_DEPTH and bool(np.count_nonzero(hole) > MIN_AREA * depth**2)


def make_crossing_guide(graph: HoleGraph, features: Floats) -> Guide:
    """Return the guide of a narrow hole, as of a wire: what lies on both sides meets in it.

    features: [h, w, 4] of the graph's image.
    """
    lab = cv2.inpaint(graph.features[:, :, :3].astype(np.uint8), (~graph.known).view(np.uint8), 3, cv2.INPAINT_TELEA)
    detail = pull_push(features[:, :, 3:], graph.known)
    crossing = cv2.GaussianBlur(np.dstack([lab.astype(np.float32), detail]), (0, 0), BLUR)
    everywhere, none = np.ones(graph.shape, np.float32), np.zeros((0, 2), np.int32)
    return Guide(crossing, everywhere, none, MAX_DIFFERENCE, 2 * WEIGHT)


def add_crossing(graph: HoleGraph, offsets: Ints, guide: Guide, features: Floats) -> Ints:
    """Return `offsets` [k, 2] and up to OFFSETS more from near the hole, so that all of the guide finds a source."""
    steps = np.arange(-REACH, REACH + 1, STEP, dtype=np.int32)
    others = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    part = graph.subgraph(sampled(graph))
    lowest = costs_of_known(part, guide, features, offsets).min(axis=0, initial=IMPOSSIBLE)
    costs = costs_of_known(part, guide, features, others) + abs(others).sum(axis=1, dtype=np.float32)[:, None]
    return np.concatenate([offsets, others[most_useful(costs, lowest)]])
