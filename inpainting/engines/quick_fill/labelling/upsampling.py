"""Upsamples a labelling to a finer level: offsets are refined by a pixel, seams are cut anew in a narrow band."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.engines.quick_fill.labelling.hole_graph import (
    CHANNELS,
    UNKNOWN,
    Bools,
    HoleGraph,
    Ints,
    bounds,
    feature_distance,
)
from inpainting.engines.quick_fill.labelling.labelling import Labelling
from inpainting.engines.quick_fill.progress import Report

SHIFTS = sorted(((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)), key=lambda at: abs(at[0]) + abs(at[1]))
"""No shift comes first: it wins a tie."""


def upsample(
    coarse: HoleGraph, fine: HoleGraph, offsets: Ints, labels: Ints, ratio: int, report: Report
) -> tuple[Ints, Ints]:
    """Return (offsets [k, 2], labels [n]) for `fine`, which is `ratio` times as large as `coarse`."""
    plane = np.full(coarse.shape, -1, np.int32)
    plane[coarse.rows, coarse.columns] = labels
    labels = plane[fine.rows // ratio, fine.columns // ratio]
    used, places = np.unique(labels, return_inverse=True)
    labels = places.astype(np.int32)
    offsets = refine_offsets(fine, offsets[used] * np.int32(ratio), labels)
    report(0.3)
    band = find_nodes_near_seams(fine, labels, ratio + 1) | (fine.source(slice(None), offsets[labels]) < 0)
    nodes = np.flatnonzero(find_nodes_near(fine, band, 1))
    graph = fine.subgraph(nodes)
    band, inner = band[nodes], labels[nodes]
    labelling = Labelling(graph, offsets, lambda label, at: graph.data_cost(at, offsets[label]), inner)
    for label in range(len(offsets)):
        labelling.expand(label, candidates=band & find_nodes_near(graph, labelling.labels == label, 2 * ratio + 1))
        report(0.3 + 0.7 * (label + 1) / len(offsets))
    labels[nodes] = labelling.labels
    return offsets, labels


def find_nodes_near_seams(graph: HoleGraph, labels: Ints, reach: int) -> Bools:
    """Return [n]: the nodes within `reach` pixels of a change of label."""
    at = labels[graph.first] != labels[graph.second]
    seam = np.zeros(len(labels), bool)
    seam[graph.first[at]] = seam[graph.second[at]] = True
    return find_nodes_near(graph, seam, reach)


def find_nodes_near(graph: HoleGraph, nodes: Bools, reach: int) -> Bools:
    """Return [n]: the nodes within `reach` pixels (a square) of one of `nodes` [n]."""
    if not nodes.any():
        return nodes
    top, left = int(graph.rows.min()), int(graph.columns.min())
    plane = np.zeros((int(graph.rows.max()) - top + 1, int(graph.columns.max()) - left + 1), np.uint8)
    rows, columns = graph.rows - top, graph.columns - left
    plane[rows[nodes], columns[nodes]] = 1
    side = 2 * reach + 1
    return cv2.dilate(plane, np.ones((side, side), np.uint8))[rows, columns] > 0


def refine_offsets(graph: HoleGraph, offsets: Ints, labels: Ints) -> Ints:
    """Return each offset shifted by up to a pixel, to where its region matches the pixels around it best."""
    box = bounds(graph.hole, 2)
    image = graph.features[box.slices].copy()
    image[~graph.known[box.slices]] = UNKNOWN
    rows, columns = graph.rows - box.top, graph.columns - box.left
    image[rows, columns] = graph.source_features(slice(None), offsets[labels])
    plane = np.full(image.shape[:2], -1, np.int32)
    plane[rows, columns] = labels
    known = graph.known.ravel()
    height, width = graph.shape
    result = offsets.copy()
    for label, offset in enumerate(offsets):
        own = plane == label
        inner = bounds(own, 2)
        region = own[inner.slices]
        ring = (cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~region
        ring_rows, ring_columns = np.nonzero(ring)
        here = image[inner.slices][ring]
        nodes = np.flatnonzero(labels == label)
        best, lowest_cost = offset, np.inf
        for shift in SHIFTS:
            candidate = offset + np.array(shift, np.int32)
            there_rows = ring_rows + inner.top + box.top + candidate[0]
            there_columns = ring_columns + inner.left + box.left + candidate[1]
            inside = (there_rows >= 0) & (there_rows < height) & (there_columns >= 0) & (there_columns < width)
            flat = np.where(inside, there_rows * width + there_columns, 0)
            there = graph.features.reshape(-1, CHANNELS)[flat]
            there[~(inside & known[flat])] = UNKNOWN
            cost = float(feature_distance(here, there).sum(dtype=np.float64))
            cost += 100.0 * np.count_nonzero(graph.source(nodes, candidate) < 0)
            if cost < lowest_cost:
                best, lowest_cost = candidate, cost
        result[label] = best
        if best is not offset:
            image[rows[nodes], columns[nodes]] = graph.source_features(nodes, best)
    return result
