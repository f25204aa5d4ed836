"""The distance of pixels from the rim of an image in colour: objects differ from all that lies at the rim.

Y. Wei, F. Wen, W. Zhu, J. Sun, "Geodesic Saliency Using Background Priors" (ECCV 2012): objects seldom lie at the edge.
"""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.engines.quick_fill.labelling.hole_graph import Bytes, Floats
from inpainting.engines.quick_fill.progress import Report

SIDE = 112
"""Pixels of the longer side at which uniqueness is measured, in patches of PATCH pixels a side."""
PATCH = 5
RIM = 8
"""Patches that begin at most this many pixels from the edge are compared with."""
OWN = 8
"""A patch is compared with those further away than this part of the longer side."""


def uniqueness(image: Bytes, report: Report) -> Floats:
    """Return [h, w], scaled down: how much the surroundings of a pixel differ, in levels, from the most similar at the
    rim."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(PATCH, round(width * scale)), max(PATCH, round(height * scale))
    lab = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2Lab).astype(np.float32)
    rows, columns = lab.shape[0] - PATCH + 1, lab.shape[1] - PATCH + 1
    windows = np.lib.stride_tricks.sliding_window_view(lab, (PATCH, PATCH), axis=(0, 1))
    # whole numbers, whose products are summed exactly in float32, on any number of threads
    patches = np.ascontiguousarray(windows).reshape(rows * columns, -1)
    squares = np.einsum("ij,ij->i", patches, patches)
    row, column = np.divmod(np.arange(rows * columns), columns)
    own = max(lab.shape) / OWN
    rim = (np.minimum(row, rows - 1 - row) < RIM) | (np.minimum(column, columns - 1 - column) < RIM)
    rim_patches, rim_squares, rim_row, rim_column = (part[rim] for part in (patches, squares, row, column))
    nearest = np.empty(rows * columns, np.float32)
    # -2ab + b^2 of (a - b)^2; a^2 does not change which is the smallest
    doubled = np.ascontiguousarray(-2 * rim_patches.T)
    for start in range(0, rows * columns, columns):
        part = slice(start, start + columns)
        distance = patches[part] @ doubled
        distance += rim_squares
        beside = np.flatnonzero(abs(start // columns - rim_row) < own)
        close = abs(column[part, None] - rim_column[beside]) < own
        distance[:, beside] = np.where(close, np.inf, distance[:, beside])
        nearest[part] = distance.min(axis=1) + squares[part]
        report(start / (rows * columns))
    nearest[np.isinf(nearest)] = 0  # an image so small that every patch is close to the whole rim
    levels = np.sqrt(np.maximum(nearest, 0) / patches.shape[1]).reshape(rows, columns)
    margin = PATCH // 2
    levels = cv2.copyMakeBorder(levels, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    # the parts of an object between its most unique places belong to it
    return cv2.GaussianBlur(cv2.dilate(levels, np.ones((PATCH, PATCH), np.uint8)), (0, 0), 2)
