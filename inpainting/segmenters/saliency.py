"""Selects the main object without a model: what differs from the border of the image.

Geodesic saliency (Y. Wei, F. Wen, W. Zhu, J. Sun, "Geodesic Saliency Using Background Priors", ECCV 2012): a region is
salient if the cheapest way to the border crosses strong edges. GrabCut then moves the edge of the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.resizing import resize_pixels
from inpainting.segmenters import geodesic, grabcut
from inpainting.segmenters.base import Hint, Selection

MIN_SHARE = 0.2
"""Of the largest piece: smaller pieces are no part of the object."""
MIN_CONTRAST = 2.0
"""Cost of the way from an object to the border, compared with that of the longest way in an even image."""


class Saliency:
    name = "saliency"
    label = "Main object, without a model"
    reads = needs = frozenset[Hint]()

    def segment(self, canonical: CanonicalImage, selection: Selection) -> Mask:
        image, whole = to_rgb8(canonical), Box.whole(canonical.size)
        scale = min(1.0, grabcut.WORKING_SIDE / canonical.size.longer)
        region = salient_region(resize_pixels(image, grabcut.scaled_size(canonical.size, scale)))
        if not region.any():
            return np.zeros(image.shape[:2], np.uint8)
        return grabcut.cut(image, whole, whole, (region, scale), selection)


def salient_region(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Mask:
    """255 where RGB [height, width, 3] is far from the border; nothing in an even image."""
    graph = geodesic.graph_of(pixels)
    distances = geodesic.distances(graph, graph.border)
    far = np.minimum(distances, np.percentile(distances, 99))
    even = geodesic.LENGTH * min(pixels.shape[:2]) / (2 * geodesic.STEP)
    if far.max() < MIN_CONTRAST * max(even, geodesic.LENGTH):
        return np.zeros(pixels.shape[:2], np.uint8)
    levels = (far * (255 / far.max())).astype(np.uint8)
    _, mask = cv2.threshold(levels[graph.labels], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return largest_pieces(cv2.medianBlur(np.asarray(mask, np.uint8), 5))


def largest_pieces(mask: Mask) -> Mask:
    """The largest component of a mask, and those of at least MIN_SHARE of its area."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the background
    kept = (areas > 0) & (areas >= MIN_SHARE * areas.max())
    return np.where(kept[labels], np.uint8(255), np.uint8(0))


def create() -> Saliency:
    return Saliency()
