"""The data cost of a source whose colour and detail do not occur around the hole, near the place it is copied to.

Seams alone allow a second image within the first: a sky in the middle of a wall costs less at its seams, along the
clouds, than a wall with its windows. So each source is compared with pixels sampled around the hole: in colour, and in
how much detail is around, since a sky may have the colour of a white window frame.
"""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.engines.quick_fill.labelling.hole_graph import SCALE, Bools, Floats, HoleGraph, Indexes, Ints

WEIGHT = np.float32(0.5) * SCALE
"""The weight of the squared distance from the most similar sample. Chosen by eye: a tenth of it has no effect, and with
six times of it benches break."""
DISTANCE = 4000.0
"""Squared levels of 0..255 by which a sample one breadth of the hole away differs on top of its colour."""
SAMPLES = 160
RING = 5
"""Pixels from the hole within which the samples lie."""
BLUR = 2.0
"""Standard deviation, in pixels, of the Gaussian that blurs colours before they are compared."""
DETAIL, DETAIL_BLUR, MAX_DETAIL = np.float32(2), 4.0, np.float32(60)
"""Detail is the sum of both gradients' sizes, blurred and at most MAX_DETAIL; a step of it counts as DETAIL levels of a
colour. Chosen by eye: with 1 and 3 a sky in a wall disappears just as well, and benches are the same."""
CELL = 4
"""Pixels a side of the cells whose nodes share the cost of the cell's middle."""


def colour_costs(graph: HoleGraph, offsets: Ints, colours: Floats, known: Bools) -> Floats:
    """Return [k, nodes]: the cost of each of `offsets` [k, 2]; 0 where there is no known pixel near the source.

    colours, known: of the graph's image, see `compute_features`.
    """
    height, width = graph.shape
    cells, cell_of_node = np.unique((graph.rows // CELL) * width + graph.columns // CELL, return_inverse=True)
    rows, columns = (CELL * part + CELL // 2 for part in np.divmod(cells, width))
    source_rows = np.clip(rows + offsets[:, :1], 0, height - 1)
    source_columns = np.clip(columns + offsets[:, 1:], 0, width - 1)
    sources = np.ascontiguousarray(np.moveaxis(colours[source_rows, source_columns], 2, 0))
    near = np.float32(DISTANCE / ((np.ptp(graph.rows) + 1.0) * (np.ptp(graph.columns) + 1.0)))
    nearest = np.full(source_rows.shape, np.inf, np.float32)
    # elementwise and sample by sample: a matrix product would be split over threads, which costs more than it saves
    for row, column in sample_around(graph).tolist():
        distance = near * ((rows - row) ** 2 + (columns - column) ** 2).astype(np.float32)
        difference = sources - colours[row, column][:, None, None]
        difference *= difference
        np.minimum(nearest, difference.sum(axis=0) + distance, out=nearest)
    return (WEIGHT * np.where(known[source_rows, source_columns], nearest, np.float32(0)))[:, cell_of_node]


def compute_features(graph: HoleGraph) -> tuple[Floats, Bools]:
    """Return ([h, w, 4] Lab and detail, blurred over known pixels only; [h, w] whether there are any)."""
    known = graph.known.astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), BLUR)
    lab = cv2.GaussianBlur(graph.features[:, :, :3] * known[:, :, None], (0, 0), BLUR)
    lab /= np.maximum(weight, np.float32(1e-6))[:, :, None]
    gradients = np.abs(graph.features[:, :, 3:]).sum(axis=2).astype(np.float32)
    detail = cv2.GaussianBlur(gradients * known, (0, 0), DETAIL_BLUR)
    detail /= np.maximum(cv2.GaussianBlur(known, (0, 0), DETAIL_BLUR), np.float32(1e-6))
    return np.dstack([lab, DETAIL * np.minimum(detail, MAX_DETAIL)]), weight > 0.01


def sample_around(graph: HoleGraph) -> Indexes:
    """Return [<= SAMPLES, 2]: rows and columns of known pixels around the hole, evenly spaced in reading order."""
    side = 2 * RING + 1
    ring = cv2.dilate(graph.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    ring_known = ring & graph.known
    pixels = np.argwhere(ring_known if ring_known.any() else graph.known)
    return pixels[np.unique(np.linspace(0, len(pixels) - 1, min(SAMPLES, len(pixels))).astype(np.int64))]
