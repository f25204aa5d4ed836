"""The loops of quick-fill that take most of its time, as machine code.

Where numba is not installed (there is no wheel for macOS on Intel processors) this module cannot be imported, and the
callers run NumPy code that returns the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inpainting.core.compiled import compiled

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Shorts = NDArray[np.int16]
Doubles = NDArray[np.float64]
Metric = tuple[np.float32, np.float32]
"""The largest squared distance and its scale: constants, handed in because numba
does not compile again when one in another module changes."""

FEATURES, HEAD = 16, 8
"""Features of a patch, and how many of them are compared first: most patches differ so much in these that
the others are not read."""
FAR = 100_000
"""Over any difference between two features."""


@compiled
def find_nearest(patches: Shorts, places: Ints, numbers: Ints, queries: Shorts, at: Ints, min_distance: int) -> Ints:
    """Return [n]: for each query the index of the most similar patch over `min_distance` away, or -1.

    Patches are looked at in the order of their first feature, from the query's on, until that feature alone differs by
    more than the best patch does. Of equally similar patches the first in reading order is taken.

    patches: [m, features], sorted by the first feature; places: [m, 2], their rows and columns;
    numbers: [h, w], which of the patches begins there, or -1.
    queries: [n, features]; at: [n, 2], their rows and columns.
    """
    count = len(patches)
    found = np.empty(len(queries), np.int32)
    first_features = patches[:, 0].copy()
    nearest = -1
    for index in range(len(queries)):
        row, column, first = at[index, 0], at[index, 1], np.int64(queries[index, 0])
        best = np.int64(2**62)
        # the offset of the query before often fits here, too; most other patches then need not be looked at
        if nearest >= 0:
            there = places[nearest, 0] - at[index - 1, 0] + row, places[nearest, 1] - at[index - 1, 1] + column
            inside = 0 <= there[0] < numbers.shape[0] and 0 <= there[1] < numbers.shape[1]
            nearest = numbers[there] if inside else -1
            if nearest >= 0:
                best = np.int64(0)
                for feature in range(FEATURES):
                    best += (np.int64(patches[nearest, feature]) - queries[index, feature]) ** 2
        high = np.searchsorted(first_features, queries[index, 0])
        low = high - 1
        while True:
            below = first - first_features[low] if low >= 0 else FAR
            above = first_features[high] - first if high < count else FAR
            gap = min(below, above)
            if gap == FAR or gap * gap > best:
                break
            if below <= above:
                candidate = low
                low -= 1
            else:
                candidate = high
                high += 1
            head = np.int32(0)
            for feature in range(HEAD):
                difference = np.int32(patches[candidate, feature]) - np.int32(queries[index, feature])
                head += difference * difference
            if head > best:
                continue
            distance = head
            for feature in range(HEAD, FEATURES):
                difference = np.int32(patches[candidate, feature]) - np.int32(queries[index, feature])
                distance += difference * difference
            if distance > best or (
                max(abs(places[candidate, 0] - row), abs(places[candidate, 1] - column)) <= min_distance
            ):
                continue
            if distance == best and nearest >= 0:
                rows, columns = places[candidate, 0] - places[nearest, 0], places[candidate, 1] - places[nearest, 1]
                if rows > 0 or (rows == 0 and columns >= 0):
                    continue
            best, nearest = np.int64(distance), candidate
        found[index] = nearest
    return found


@compiled
def distance_between(features: Shorts, left: int, right: int, metric: Metric) -> np.float32:
    """Return the distance of two pixels, indexes into `features` [pixels + 1, channels]."""
    limit, scale = metric
    total = np.int32(0)
    for channel in range(features.shape[1]):
        difference = np.int32(features[left, channel]) - np.int32(features[right, channel])
        total += difference * difference
    return min(np.float32(total), limit) * scale


@compiled
def source_of(known: Bools, row: int, column: int) -> int:
    """Return the index of a pixel of `known` [h, w], or h * w, that of an unknown one."""
    height, width = known.shape
    if 0 <= row < height and 0 <= column < width and known[row, column]:
        return row * width + column
    return height * width


@compiled
def compute_mismatch(
    features: Shorts, known: Bools, top: int, left: int, shape: tuple[int, int], down: int, right: int, metric: Metric
) -> Floats:
    """Return [shape]: the distance of each pixel from (top, left) on to the one that lies (down, right) of it; 0 for
    unknown ones.

    features: [h * w + 1, channels], the last one those of unknown pixels; known: [h, w].
    """
    width = known.shape[1]
    distance = np.zeros(shape, np.float32)
    for row in range(top, top + shape[0]):
        for column in range(left, left + shape[1]):
            if known[row, column]:
                there = source_of(known, row + down, column + right)
                distance[row - top, column - left] = distance_between(features, row * width + column, there, metric)
    return distance


@compiled
def build_cut(
    features: Shorts,
    known: Bools,
    rows: Ints,
    columns: Ints,
    first: Ints,
    second: Ints,
    offsets: Ints,
    labels: Ints,
    label: int,
    free: Bools,
    metric: Metric,
) -> tuple[Ints, Ints, Doubles, Doubles]:
    """Return what `edge_costs.make_cut` returns: (first [m], second [m], capacity [m], terminal [free nodes])."""
    index = np.cumsum(free).astype(np.int32) - np.int32(1)
    edges = np.flatnonzero(free[first] | free[second])
    count = len(rows)
    source, expanded = np.full((2, count), -1, np.int64)
    change = np.empty(count, np.float32)
    for edge in edges:
        for node in (first[edge], second[edge]):
            if source[node] < 0:
                own, other = offsets[labels[node]], offsets[label]
                source[node] = source_of(known, rows[node] + own[0], columns[node] + own[1])
                expanded[node] = source_of(known, rows[node] + other[0], columns[node] + other[1])
                change[node] = distance_between(features, source[node], expanded[node], metric)
    neither, only_first, only_second = np.zeros((3, len(edges)), np.float32)
    for place, edge in enumerate(edges):
        one, two = first[edge], second[edge]
        as_first, as_second = change[one], change[two]
        if labels[one] != labels[two]:
            own, other = offsets[labels[one]], offsets[labels[two]]
            first_as_second = source_of(known, rows[one] + other[0], columns[one] + other[1])
            second_as_first = source_of(known, rows[two] + own[0], columns[two] + own[1])
            neither[place] = distance_between(features, source[one], first_as_second, metric)
            neither[place] += distance_between(features, source[two], second_as_first, metric)
            as_first = distance_between(features, expanded[one], first_as_second, metric)
            as_second = distance_between(features, second_as_first, expanded[two], metric)
        only_first[place], only_second[place] = as_first + change[two], change[one] + as_second

    # in four passes, as NumPy adds them up: the sums are equal to the last bit
    terminal = np.zeros(np.count_nonzero(free), np.float64)
    for place, edge in enumerate(edges):
        if free[first[edge]] and not free[second[edge]]:
            terminal[index[first[edge]]] += only_first[place] - neither[place]
    for place, edge in enumerate(edges):
        if free[second[edge]] and not free[first[edge]]:
            terminal[index[second[edge]]] += only_second[place] - neither[place]
    both = np.flatnonzero(free[first[edges]] & free[second[edges]])
    first_index, second_index = index[first[edges[both]]], index[second[edges[both]]]
    capacity = np.empty(len(both), np.float64)
    for place, at in enumerate(both):
        unchanged = min(neither[at], only_first[at] + only_second[at])
        terminal[first_index[place]] += only_first[at] - unchanged
        capacity[place] = only_first[at] + only_second[at] - unchanged
    for place, at in enumerate(both):
        terminal[second_index[place]] -= only_first[at]
    return first_index, second_index, capacity, terminal
