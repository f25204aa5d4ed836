"""A rough completion of a small image from patches of it that may be turned, scaled and mirrored.

Each patch around the hole finds the most similar known one by random search and propagation (C. Barnes, E. Shechtman,
D. Goldman, A. Finkelstein, "The Generalized PatchMatch Correspondence Algorithm", ECCV 2010); then all patches vote for
the hole's pixels (Y. Wexler, E. Shechtman, M. Irani, "Space-Time Completion of Video", PAMI 2007). Both alternate, from
a coarse level to the finest. The result is blurred, but edges go on as they should, curved ones too.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.compiled import compiled
from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Floats, Ints, downscale

Words = NDArray[np.uint64]

RADIUS = 3
SIDE = 2 * RADIUS + 1
"""Patches are SIDE pixels a side."""
ROW, COLUMN, ANGLE, SCALE, MIRROR = range(5)
"""What a match holds: the middle of the source patch, and how it is turned (radians), scaled and mirrored (-1)."""
MAX_ANGLE = np.float32(0.8)
MAX_LOG_SCALE = np.float32(math.log(1.25))
MAX_BIAS = np.float32(12)
"""Levels by which the mean of a patch may differ from that of its source without any cost."""
TRANSFORM_COST = np.float32(30)
"""Squared levels for each radian and each natural logarithm of the scale: only sources that are neither turned nor
scaled can be copied in the end."""
MIRROR_COST = np.float32(9)
FALLOFF = 1.3
"""Pixels count FALLOFF times less for each pixel that they are deeper in the hole: what is at its edge is known."""
MIN_DEPTH, MIN_SIDE, MIN_SOURCES = 4, 24, 100
"""There is no coarser level where the hole is less deep, the image smaller, or fewer whole patches are known."""
ROUNDS = (6, 4, 3)
"""Searches and votes on the coarsest level, the next one, and each finer one."""
SEARCHES = 2


def complete(image: Floats, known: Bools, hole: Bools, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
    """Return (completed image [h, w, channels], matches [h, w, 5]), or None where no whole patch is known.

    image: [h, w, channels]; the first three are compared (Lab), all are completed.
    known, hole: [h, w]; pixels that are neither are not used.
    """
    levels = [(np.ascontiguousarray(image, np.float32), known, hole)]
    while depth(levels[-1][2]) >= MIN_DEPTH and min(levels[-1][2].shape) >= MIN_SIDE:
        coarser = halve(*levels[-1])
        if np.count_nonzero(whole_patches(coarser[1])) < MIN_SOURCES:
            break
        levels.append(coarser)
    state = np.array([rng.integers(1, 2**63)], np.uint64)
    sources = np.argwhere(whole_patches(levels[-1][1]))
    if not len(sources):
        return None
    image, known, hole = levels[-1]
    completed = np.ascontiguousarray(pull_push(image, known), np.float32)
    matches = np.zeros((*hole.shape, 5), np.float32)
    matches[:, :, : COLUMN + 1] = sources[rng.integers(0, len(sources), hole.shape)]
    matches[:, :, SCALE] = matches[:, :, MIRROR] = 1
    for number in range(len(levels) - 1, -1, -1):
        image, known, hole = levels[number]
        if number < len(levels) - 1:
            completed, matches = double(completed, matches, hole.shape)
        np.copyto(completed, image, where=~hole[:, :, None])
        improve(image, completed, known, hole, matches, ROUNDS[min(len(levels) - 1 - number, len(ROUNDS) - 1)], state)
    return completed, matches


def improve(
    image: Floats, completed: Floats, known: Bools, hole: Bools, matches: Floats, rounds: int, state: Words
) -> None:
    """Search and vote `rounds` times; write `completed` and `matches`."""
    near_hole = cv2.dilate(hole.view(np.uint8), np.ones((SIDE, SIDE), np.uint8)) > 0
    unusable = cv2.dilate((~(known | hole)).view(np.uint8), np.ones((SIDE, SIDE), np.uint8)) > 0
    rows, columns = (part.astype(np.int32) for part in np.nonzero(near_hole & ~(unusable & ~hole)))
    weights = np.where(known, 1, 0).astype(np.float32)
    weights[hole] = FALLOFF ** -cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, 5)[hole]
    costs = np.full(hole.shape, np.inf, np.float32)
    for _ in range(rounds):
        search(image, completed, known, weights, rows, columns, matches, costs, state)
        found = costs[rows, columns]
        found = found[np.isfinite(found)]
        if not len(found):
            return
        # Wexler et al. take the 75th percentile of the distances as their variance
        vote(image, completed, hole, weights, rows, columns, matches, costs, max(1.0, float(np.percentile(found, 75))))


def depth(hole: Bools) -> float:
    """Return how far the innermost pixel of `hole` [h, w] is from its edge, in pixels."""
    return float(cv2.distanceTransform(np.pad(hole, 1).view(np.uint8), cv2.DIST_C, 3).max())


def whole_patches(known: Bools) -> Bools:
    """Return [h, w]: whether all pixels of the patch around each pixel are known."""
    return cv2.erode(known.view(np.uint8), np.ones((SIDE, SIDE), np.uint8), borderValue=0) > 0


def halve(image: Floats, known: Bools, hole: Bools) -> tuple[Floats, Bools, Bools]:
    """Return all three at half the size: known where all pixels are, in the hole where any is."""
    down, right = hole.shape[0] % 2, hole.shape[1] % 2
    image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    known, hole = (np.pad(plane, ((0, down), (0, right))) for plane in (known, hole))
    return downscale(image, known, hole, 2)


def double(completed: Floats, matches: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return both at twice the size, cut to `shape`."""
    height, width = shape[:2]
    completed = cv2.resize(completed, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[:height, :width]
    matches = np.repeat(np.repeat(matches, 2, axis=0), 2, axis=1)[:height, :width].copy()
    down, right = (np.indices((height, width)) % 2 - 0.5).astype(np.float32)
    along, across = (matches[:, :, SCALE] * part(matches[:, :, ANGLE]) for part in (np.cos, np.sin))
    right *= matches[:, :, MIRROR]
    for part, change in ((ROW, across * right + along * down), (COLUMN, along * right - across * down)):
        matches[:, :, part] = np.clip(2 * matches[:, :, part] + 0.5 + change, 0, shape[part] - 1)
    return np.ascontiguousarray(completed), matches


@compiled
def random_share(state: Words) -> np.float32:
    """Return a number of 0..1 and advance `state` [1] (G. Marsaglia, "Xorshift RNGs", 2003)."""
    value = state[0]
    value ^= value << np.uint64(13)
    value ^= value >> np.uint64(7)
    value ^= value << np.uint64(17)
    state[0] = value
    return np.float32(value >> np.uint64(40)) / np.float32(1 << 24)


@compiled
def compare(
    image: Floats, completed: Floats, known: Bools, weights: Floats, row: int, column: int, match: Floats, bias: Floats
) -> np.float32:
    """Return the mean squared distance of the patch around (row, column) from its source, infinite where that is not
    known; write to `bias` [3] by how much the patch is lighter."""
    height, width = known.shape
    bias[:] = 0
    squared = total = np.float32(0)
    along, across = match[SCALE] * np.cos(match[ANGLE]), match[SCALE] * np.sin(match[ANGLE])
    for down in range(-RADIUS, RADIUS + 1):
        for right in range(-RADIUS, RADIUS + 1):
            here = row + down, column + right
            if not (0 <= here[0] < height and 0 <= here[1] < width):
                continue
            mirrored = right * match[MIRROR]
            there_row = math.floor(match[ROW] + across * mirrored + along * down + np.float32(0.5))
            there_column = math.floor(match[COLUMN] + along * mirrored - across * down + np.float32(0.5))
            if not (0 <= there_row < height and 0 <= there_column < width and known[there_row, there_column]):
                return np.float32(np.inf)
            weight = weights[here]
            total += weight
            for channel in range(3):
                difference = completed[here[0], here[1], channel] - image[there_row, there_column, channel]
                bias[channel] += weight * difference
                squared += weight * difference * difference
    if total == 0:
        return np.float32(np.inf)
    squared /= total
    for channel in range(3):
        mean = bias[channel] / total
        bias[channel] = min(max(mean, -MAX_BIAS), MAX_BIAS)
        squared += bias[channel] * (bias[channel] - 2 * mean)
    return squared


@compiled
def try_match(
    image: Floats,
    completed: Floats,
    known: Bools,
    weights: Floats,
    row: int,
    column: int,
    candidate: Floats,
    matches: Floats,
    costs: Floats,
    bias: Floats,
) -> None:
    """Take over `candidate` [5] as the match of the patch around (row, column) where it costs less."""
    cost = compare(image, completed, known, weights, row, column, candidate, bias)
    cost += TRANSFORM_COST * (abs(candidate[ANGLE]) + abs(np.log(candidate[SCALE])))
    if candidate[MIRROR] < 0:
        cost += MIRROR_COST
    if cost < costs[row, column]:
        costs[row, column] = cost
        matches[row, column] = candidate


@compiled
def search(
    image: Floats,
    completed: Floats,
    known: Bools,
    weights: Floats,
    rows: Ints,
    columns: Ints,
    matches: Floats,
    costs: Floats,
    state: Words,
) -> None:
    """Improve the matches of the patches around `rows` and `columns` [n]; write `matches` and `costs` [h, w]."""
    height, width = known.shape
    candidate, bias = np.empty(5, np.float32), np.empty(3, np.float32)
    costs[:] = np.inf
    for row, column in zip(rows, columns):  # noqa: B905 # numba's zip takes no keywords
        candidate[:] = matches[row, column]
        try_match(image, completed, known, weights, row, column, candidate, matches, costs, bias)
    for turn in range(SEARCHES):
        step = 1 - 2 * (turn % 2)  # in reading order, then backwards
        for row, column in zip(rows[::step], columns[::step]):  # noqa: B905
            for down, right in ((step, 0), (0, step)):
                beside = row - down, column - right
                if 0 <= beside[0] < height and 0 <= beside[1] < width and costs[beside] < np.inf:
                    candidate[:] = matches[beside]
                    along = candidate[SCALE] * np.cos(candidate[ANGLE])
                    across = candidate[SCALE] * np.sin(candidate[ANGLE])
                    candidate[ROW] += across * right * candidate[MIRROR] + along * down
                    candidate[COLUMN] += along * right * candidate[MIRROR] - across * down
                    try_match(image, completed, known, weights, row, column, candidate, matches, costs, bias)
            reach = np.float32(1)
            while reach * max(height, width) > 1:
                best = matches[row, column]
                for part in (ROW, COLUMN):
                    candidate[part] = best[part] + (2 * random_share(state) - 1) * reach * max(height, width)
                turned = best[ANGLE] + (2 * random_share(state) - 1) * reach * MAX_ANGLE
                candidate[ANGLE] = min(max(turned, -MAX_ANGLE), MAX_ANGLE)
                scaled = np.log(best[SCALE]) + (2 * random_share(state) - 1) * reach * MAX_LOG_SCALE
                candidate[SCALE] = np.exp(min(max(scaled, -MAX_LOG_SCALE), MAX_LOG_SCALE))
                candidate[MIRROR] = -best[MIRROR] if random_share(state) < 0.5 * reach else best[MIRROR]
                try_match(image, completed, known, weights, row, column, candidate, matches, costs, bias)
                reach /= 2


@compiled
def vote(
    image: Floats,
    completed: Floats,
    hole: Bools,
    weights: Floats,
    rows: Ints,
    columns: Ints,
    matches: Floats,
    costs: Floats,
    variance: float,
) -> None:
    """Write to `completed` in the hole the weighted means of all patches that cover each pixel."""
    height, width, channels = image.shape
    sums = np.zeros((height, width, channels), np.float32)
    totals = np.zeros((height, width), np.float32)
    known, bias = ~hole, np.empty(3, np.float32)
    for row, column in zip(rows, columns):  # noqa: B905
        if costs[row, column] == np.inf:
            continue
        match = matches[row, column]
        compare(image, completed, known, weights, row, column, match, bias)
        along, across = match[SCALE] * np.cos(match[ANGLE]), match[SCALE] * np.sin(match[ANGLE])
        weight = weights[row, column] * np.float32(np.exp(-costs[row, column] / (2 * variance)))
        for down in range(-RADIUS, RADIUS + 1):
            for right in range(-RADIUS, RADIUS + 1):
                here = row + down, column + right
                if 0 <= here[0] < height and 0 <= here[1] < width and hole[here]:
                    mirrored = right * match[MIRROR]
                    there_row = math.floor(match[ROW] + across * mirrored + along * down + np.float32(0.5))
                    there_column = math.floor(match[COLUMN] + along * mirrored - across * down + np.float32(0.5))
                    totals[here] += weight
                    for channel in range(channels):
                        added = bias[channel] if channel < 3 else np.float32(0)
                        sums[here[0], here[1], channel] += weight * (image[there_row, there_column, channel] + added)
    for row in range(height):
        for column in range(width):
            if hole[row, column] and totals[row, column] > 1e-12:
                completed[row, column] = sums[row, column] / totals[row, column]
