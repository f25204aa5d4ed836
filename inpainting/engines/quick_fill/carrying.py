"""Carries a labelling to a finer level: offsets moved by a pixel where that fits better, seams cut anew."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.engines.quick_fill.labelling import Labelling
from inpainting.engines.quick_fill.progress import Report
from inpainting.engines.quick_fill.scene import CHANNELS, UNKNOWN, Bools, Ints, Scene, bounds, unlike

NUDGES = sorted(((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)), key=lambda at: abs(at[0]) + abs(at[1]))
"""Staying comes first: it wins a tie."""


def carry_up(coarse: Scene, fine: Scene, offsets: Ints, labels: Ints, ratio: int, report: Report) -> tuple[Ints, Ints]:
    """(offsets [k, 2], labels [n]) for `fine`, which is `ratio` times as large as `coarse`."""
    plane = np.full(coarse.shape, -1, np.int32)
    plane[coarse.rows, coarse.columns] = labels
    labels = plane[fine.rows // ratio, fine.columns // ratio]
    used, places = np.unique(labels, return_inverse=True)
    labels = places.astype(np.int32)
    offsets = nudged(fine, offsets[used] * np.int32(ratio), labels)
    report(0.3)
    band = near_seams(fine, labels, ratio + 1) | (fine.source(slice(None), offsets[labels]) < 0)
    nodes = np.flatnonzero(near(fine, band, 1))
    part = fine.part(nodes)
    band, inner = band[nodes], labels[nodes]
    labelling = Labelling(part, offsets, lambda label, at: part.price(at, offsets[label]), inner)
    for label in range(len(offsets)):
        labelling.expand(label, among=band & near(part, labelling.labels == label, 2 * ratio + 1))
        report(0.3 + 0.7 * (label + 1) / len(offsets))
    labels[nodes] = labelling.labels
    return offsets, labels


def near_seams(scene: Scene, labels: Ints, reach: int) -> Bools:
    """[n]: which nodes lie within `reach` pixels of a change of label."""
    at = labels[scene.first] != labels[scene.second]
    seam = np.zeros(len(labels), bool)
    seam[scene.first[at]] = seam[scene.second[at]] = True
    return near(scene, seam, reach)


def near(scene: Scene, nodes: Bools, reach: int) -> Bools:
    """[n]: which nodes lie within `reach` pixels (a square) of one of `nodes`."""
    if not nodes.any():
        return nodes
    top, left = int(scene.rows.min()), int(scene.columns.min())
    plane = np.zeros((int(scene.rows.max()) - top + 1, int(scene.columns.max()) - left + 1), np.uint8)
    rows, columns = scene.rows - top, scene.columns - left
    plane[rows[nodes], columns[nodes]] = 1
    side = 2 * reach + 1
    return cv2.dilate(plane, np.ones((side, side), np.uint8))[rows, columns] > 0


def nudged(scene: Scene, offsets: Ints, labels: Ints) -> Ints:
    """Each offset moved by up to a pixel, to where its piece fits what lies around it best."""
    box = bounds(scene.hole, 2)
    picture = scene.planes[box.slices].copy()
    picture[~scene.known[box.slices]] = UNKNOWN
    rows, columns = scene.rows - box.top, scene.columns - box.left
    picture[rows, columns] = scene.features(slice(None), offsets[labels])
    plane = np.full(picture.shape[:2], -1, np.int32)
    plane[rows, columns] = labels
    known = scene.known.ravel()
    height, width = scene.shape
    moved = offsets.copy()
    for label, offset in enumerate(offsets):
        own = plane == label
        inner = bounds(own, 2)
        piece = own[inner.slices]
        ring = (cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~piece
        ring_rows, ring_columns = np.nonzero(ring)
        here = picture[inner.slices][ring]
        nodes = np.flatnonzero(labels == label)
        best, least = offset, np.inf
        for nudge in NUDGES:
            candidate = offset + np.array(nudge, np.int32)
            there_rows = ring_rows + inner.top + box.top + candidate[0]
            there_columns = ring_columns + inner.left + box.left + candidate[1]
            inside = (there_rows >= 0) & (there_rows < height) & (there_columns >= 0) & (there_columns < width)
            flat = np.where(inside, there_rows * width + there_columns, 0)
            there = scene.planes.reshape(-1, CHANNELS)[flat]
            there[~(inside & known[flat])] = UNKNOWN
            cost = float(unlike(here, there).sum(dtype=np.float64))
            cost += 100.0 * np.count_nonzero(scene.source(nodes, candidate) < 0)
            if cost < least:
                best, least = candidate, cost
        moved[label] = best
        if best is not offset:
            picture[rows[nodes], columns[nodes]] = scene.features(nodes, best)
    return moved
