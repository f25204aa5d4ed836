"""The object at some points by geodesic distance, without colour models or training.

The image is divided into small even regions, which are the nodes of a graph. A step between neighbours costs the more
their colours differ and the stronger the edge between them is. A region belongs to the object where its nearest marked
point is one on the object; the image's border counts as marked beside it. So a further point changes the mask around
it (Bai and Sapiro 2009, "Geodesic matting"; Criminisi, Sharp, Blake 2008).
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from inpainting.core.image import Mask

STEP = 6
"""Distance between the middles of neighbouring regions, in pixels."""
LIGHTNESS = 0.6
"""Weight of lightness beside colour: shadows and folds divide objects less than colours do."""
EDGE = 0.4
"""Weight of the gradient along the border of two regions beside the difference of their mean colours."""
EXPONENT = 1.5
"""Above 1, one strong edge costs more than many weak ones."""
LENGTH = 2.0
"""Cost of a step between equal regions, so that distance counts too."""
MAX_GRAPHS = 8
"""Graphs that are kept for further points on the same image; each takes about 4 MB."""

RGB = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Regions and their neighbours.

    labels: [height, width], the number of each pixel's region. colours, centres, areas: [regions, 3], [regions, 2] and
    [regions], the mean L*a*b*, the mean x and y, the pixels. first, second, differences: [pairs], the neighbours and
    how much they differ. steps: [regions, regions], the cost of each step. border: the regions at the image's border.
    """

    labels: NDArray[np.int32]
    colours: NDArray[np.float64]
    centres: NDArray[np.float64]
    areas: NDArray[np.float64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    differences: NDArray[np.float64]
    steps: Any
    border: list[int]

    def region(self, x: int, y: int) -> int:
        return int(self.labels[y, x])


def select(pixels: RGB, objects: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> Mask:
    """255 where the nearest marked point is on the object, 0 elsewhere; only what is connected to such a point.

    pixels: RGB, at most about 500 pixels a side. objects, others: points (x, y) on and beside the object.
    """
    graph = graph_of(pixels)
    on = {graph.region(*point) for point in objects}
    beside = {graph.region(*point) for point in others} - on
    to_object = distances(graph, on)
    to_others = distances(graph, (beside | {*graph.border}) - on)
    is_object = to_object < to_others
    mask = np.where(is_object[graph.labels], np.uint8(255), np.uint8(0))
    return cv2.medianBlur(keep_connected(mask, objects), 5)


def distances(graph: Graph, starts: Iterable[int]) -> NDArray[np.float64]:
    """The cost of the cheapest way from one of the regions to each region (Dijkstra 1959); inf without a start."""
    indices = sorted(starts)
    if not indices:
        return np.full(len(graph.areas), math.inf)
    found: NDArray[np.float64] = dijkstra(graph.steps, indices=indices, min_only=True)
    return found


def keep_connected(mask: Mask, points: Sequence[tuple[int, int]]) -> Mask:
    """The components of a mask that contain one of the points (x, y)."""
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    wanted = {int(labels[y, x]) for x, y in points} - {0}
    return np.where(np.isin(labels, list(wanted)), np.uint8(255), np.uint8(0))


_graphs: OrderedDict[bytes, Graph] = OrderedDict()
_lock = threading.Lock()


def graph_of(pixels: RGB) -> Graph:
    """The graph of an image, kept for the next point on it."""
    key = blake2b(pixels.tobytes(), salt=str(pixels.shape[1]).encode()).digest()
    with _lock:
        graph = _graphs.get(key)
        if graph is not None:
            _graphs.move_to_end(key)
            return graph
    graph = make_graph(pixels)
    with _lock:
        _graphs[key] = graph
        while len(_graphs) > MAX_GRAPHS:
            _graphs.popitem(last=False)
    return graph


def make_graph(pixels: RGB) -> Graph:
    lab = cv2.bilateralFilter(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), 7, 25, 5)  # even out texture, keep edges
    gradient = gradient_of(lab)
    labels, count = even_regions(gradient)
    colours = lab.astype(np.float64) * (LIGHTNESS, 1, 1)
    flat = labels.ravel()
    areas = np.maximum(np.bincount(flat, minlength=count), 1).astype(np.float64)

    def means(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.stack([np.bincount(flat, plane.ravel(), count) for plane in values], axis=1) / areas[:, None]

    rows, columns = labels.shape
    across = np.tile(np.arange(columns, dtype=np.float64), (rows, 1))
    down = np.tile(np.arange(rows, dtype=np.float64)[:, None], (1, columns))
    found = means([colours[:, :, channel] for channel in range(3)])
    first, second, edges = borders(labels, gradient)
    differences = np.linalg.norm(found[first] - found[second], axis=1) + EDGE * edges
    costs = differences**EXPONENT + LENGTH
    steps = csr_matrix((np.r_[costs, costs], (np.r_[first, second], np.r_[second, first])), (count, count))
    rim = np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))).tolist()
    return Graph(labels, found, means((across, down)), areas, first, second, differences, steps, rim)


def gradient_of(lab: RGB) -> NDArray[np.float32]:
    """The strength of the edges: the length of the gradient over all channels."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.sqrt((across * across + down * down).sum(axis=2))


def even_regions(gradient: NDArray[np.float32]) -> tuple[NDArray[np.int32], int]:
    """The number of each pixel's region, and how many there are: a watershed from the evenest pixel of each cell."""
    height, width = gradient.shape
    seeds = np.zeros((height, width), np.int32)
    count = 0
    for top in range(0, height, STEP):
        for left in range(0, width, STEP):
            cell = gradient[top : top + STEP, left : left + STEP]
            y, x = divmod(int(cell.argmin()), cell.shape[1])
            count += 1
            seeds[top + y, left + x] = count
    strongest = max(1.0, float(np.percentile(gradient, 99.5)))
    relief = np.clip(gradient * (255 / strongest), 0, 255).astype(np.uint8)
    padded = (cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_CONSTANT) for plane in (relief, seeds))
    relief, seeds = padded  # the watershed leaves out the border
    labels = cv2.watershed(np.dstack([relief] * 3), seeds)[1:-1, 1:-1].astype(np.float32)
    while (labels <= 0).any():  # the lines between the regions
        labels = np.where(labels > 0, labels, cv2.dilate(np.maximum(labels, 0), np.ones((3, 3), np.uint8)))
    return labels.astype(np.int32) - 1, count


def borders(
    labels: NDArray[np.int32], gradient: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The pairs of neighbouring regions, and the mean gradient along the border of each pair."""
    count = int(labels.max()) + 1
    pairs, strengths = [], []
    for near, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = labels[near] != labels[other]
        a, b = labels[near][differ].astype(np.int64), labels[other][differ].astype(np.int64)
        pairs.append(np.minimum(a, b) * count + np.maximum(a, b))
        strengths.append(np.maximum(gradient[near], gradient[other])[differ])
    found, index = np.unique(np.concatenate(pairs), return_inverse=True)
    means = np.bincount(index, np.concatenate(strengths)) / np.maximum(np.bincount(index), 1)
    return found // count, found % count, means
