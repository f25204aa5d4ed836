"""Dominant offsets: the few dozen shifts by which an image repeats itself.

K. He and J. Sun, "Statistics of Patch Offsets for Image Completion", ECCV 2012: the offsets between similar patches
that are not close neighbours are concentrated at few values, and these shifts continue the image into its hole.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core import compiled
from inpainting.engines.quick_fill.progress import Report

PATCH = 8
"""Side of the square patches that are compared, in pixels."""
BLOCK = 32
"""Patches that are matched in one matrix product, against strips of the image of at most STRIP columns."""
STRIP = 128
COMPILED_BLOCK = 512
"""Patches that are matched between two reports of progress, which is where a cancelled filling stops."""
HORIZONTAL, HORIZONTAL_BONUS = 0.1, 2.0
"""Offsets whose rows are within HORIZONTAL of the height count up to 1 + HORIZONTAL_BONUS times: horizons, benches,
walls and floors extend sideways. Chosen by eye: without it the pavement shows through a bench; with 3 a slanted one is
lost."""
EXCLUDED = np.float32(2**23)
"""The squared distance of excluded patches, over any between real ones (3 channels * 64 pixels * 128**2 * 4 is more,
but does not occur)."""


def find_matches(
    lab: NDArray[np.float32],
    known: NDArray[np.bool_],
    near: NDArray[np.bool_],
    max_count: int,
    rng: np.random.Generator,
    report: Report,
) -> NDArray[np.int32]:
    """Return [n, 2]: the offsets from up to `max_count` known patches to the most similar one that is not a close
    neighbour.

    Close is up to max(height, width) / 15 pixels (He and Sun).

    lab: [h, w, 3] in 0..255;
    known: [h, w];
    near: [h, w], around the hole, where two thirds of the patches are sampled.
    """
    if min(known.shape) < PATCH:
        return np.zeros((0, 2), np.int32)
    complete = complete_patches(known)
    features = patch_features(lab)
    close, far = near[: complete.shape[0], : complete.shape[1]], ~near[: complete.shape[0], : complete.shape[1]]
    queries = np.concatenate(
        [
            sample(np.argwhere(complete & close), 2 * max_count // 3, rng),
            sample(np.argwhere(complete & far), max_count // 3, rng),
        ]
    ).astype(np.int32)
    min_distance = max(2, max(known.shape) // 15)
    if compiled.AVAILABLE:
        index = PatchIndex(features, complete)
        nearest_patches = index.nearest(queries, min_distance, report)
        return (index.places[nearest_patches] - queries)[nearest_patches >= 0]
    strips = cut_into_strips(features, complete)
    blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
    offsets = [np.zeros((0, 2), np.int32)]
    for block in blocks:
        offset, found = nearest(block, features, strips, min_distance)
        offsets.append(offset[found])
        report(len(offsets) / (len(blocks) + 1))
    return np.concatenate(offsets)


def complete_patches(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return [h-7, w-7]: whether `plane` [h, w] is true in the whole patch that begins there."""
    whole = cv2.erode(plane.view(np.uint8), np.ones((PATCH, PATCH), np.uint8), anchor=(0, 0), borderValue=0) > 0
    return whole[: plane.shape[0] - PATCH + 1, : plane.shape[1] - PATCH + 1]


class PatchIndex:
    """Finds the most similar of the patches that are complete, by machine code, as `nearest` does."""

    def __init__(self, features: NDArray[np.float32], complete: NDArray[np.bool_]) -> None:
        self.features = features.astype(np.int16)  # at most 8 * 128 each
        places = np.argwhere(complete).astype(np.int32)
        patches = self.features[complete]
        order = np.argsort(patches[:, 0], kind="stable")
        self.patches, self.places = patches[order], places[order]
        self.numbers = np.full(complete.shape, -1, np.int32)
        self.numbers[self.places[:, 0], self.places[:, 1]] = np.arange(len(places))

    def nearest(self, at: NDArray[np.int32], min_distance: int, report: Report) -> NDArray[np.int32]:
        """Return [n]: for each patch `at` [n, 2] the index in `places` of the nearest one over `min_distance` away,
        or -1."""
        from inpainting.engines.quick_fill.kernels import find_nearest

        found = [np.zeros(0, np.int32)]
        for start in range(0, len(at), COMPILED_BLOCK):
            block = at[start : start + COMPILED_BLOCK]
            queries = self.features[block[:, 0], block[:, 1]]
            found.append(find_nearest(self.patches, self.places, self.numbers, queries, block, min_distance))
            report((start + len(block)) / len(at))
        return np.concatenate(found)


def nearest(
    at: NDArray[np.int32], features: NDArray[np.float32], strips: NDArray[np.float32], min_distance: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return offsets [n, 2] from patches `at` [n, 2] to the most similar ones over `min_distance` away, and whether any
    is."""
    width = strips.shape[3]
    every = np.arange(len(at))
    queries = np.column_stack([-2 * features[at[:, 0], at[:, 1]], np.ones(len(at), np.float32)])
    distance = np.matmul(queries, strips)  # [h, strips, n, width]
    for index, (row, column) in enumerate(at.tolist()):
        rows = slice(max(0, row - min_distance), row + min_distance + 1)
        left, right = max(0, column - min_distance), column + min_distance
        for strip in range(left // width, min(right // width, strips.shape[1] - 1) + 1):
            columns = slice(max(0, left - strip * width), right - strip * width + 1)
            distance[rows, strip, index, columns] = EXCLUDED
    within = distance.argmin(axis=3)  # numpy finds where a row has its minimum several times faster than the minimum
    best = np.take_along_axis(distance, within[..., np.newaxis], axis=3).reshape(-1, len(at))
    strip = best.argmin(axis=0)
    row, part = np.divmod(strip, strips.shape[1])
    column = part * width + within[row, part, every]
    return (np.column_stack([row, column]) - at).astype(np.int32), best[strip, every] < EXCLUDED / 2


def cut_into_strips(features: NDArray[np.float32], complete: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return [h, strips, features + 1, <= STRIP]: the matrices that queries are multiplied with; the last row: squared
    norms.

    BLAS does not split products this small over threads, which would cost more time than they save here, and far more
    on a busy machine.
    """
    height, width, count = features.shape
    strips = -(-width // STRIP)
    each = -(-width // strips)
    padded = np.zeros((height, strips * each, count + 1), np.float32)
    padded[:, :width, :count] = features
    padded[:, :, count] = EXCLUDED
    padded[:, :width, count][complete] = np.einsum("ij,ij->i", features[complete], features[complete])
    return np.ascontiguousarray(padded.reshape(height, strips, each, count + 1).transpose(0, 1, 3, 2))


def sample(rows: NDArray[np.int64], max_count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `max_count` of the rows, in their order."""
    if len(rows) <= max_count:
        return rows
    return rows[np.sort(rng.choice(len(rows), max_count, replace=False))]


def patch_features(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return [h-7, w-7, 16]: the low frequencies of each patch's orthonormal DCT, rounded to integers.

    Integers below 2**24 are summed exactly in float32, so matches do not depend on how a matrix product is split over
    threads.
    """
    k = np.arange(PATCH)
    basis = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / PATCH) * np.sqrt(2 / PATCH)
    basis[0] /= np.sqrt(2)
    rows, columns = lab.shape[0] - PATCH + 1, lab.shape[1] - PATCH + 1
    planes = []
    for channel, degree in ((0, 3), (1, 1), (2, 1)):
        plane = np.ascontiguousarray(lab[:, :, channel]) - 128
        for u in range(degree + 1):
            for v in range(degree + 1 - u):
                kernel_x, kernel_y = basis[v].astype(np.float32), basis[u].astype(np.float32)
                out = cv2.sepFilter2D(plane, cv2.CV_32F, kernel_x, kernel_y, anchor=(0, 0))
                planes.append(np.rint(out[:rows, :columns]))
    return np.ascontiguousarray(np.dstack(planes))


def dominant(matches: NDArray[np.int32], covers: NDArray[np.float32], max_count: int) -> NDArray[np.int32]:
    """Return [<= max_count, 2]: the peaks of the histogram of `matches` [n, 2] (and their opposites), best first.

    covers: [2h-1, 2w-1], for each offset (zero in the middle) the share of the hole with a known source.
    """
    votes = histogram(np.concatenate([matches, -matches]), covers.shape)
    rows, columns = peaks(votes, covers)
    middle = np.array(covers.shape) // 2
    slant = (rows - middle[0]) / (HORIZONTAL * middle[0])
    score = votes[rows, columns] * np.sqrt(covers[rows, columns]) * (1 + HORIZONTAL_BONUS * np.exp(-(slant**2)))
    order = np.argsort(-score, kind="stable")[:max_count]
    return (np.column_stack([rows, columns])[order] - middle).astype(np.int32)


def histogram(offsets: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return [shape]: how often each of `offsets` [n, 2] occurs, smoothed; offset zero is in the middle."""
    votes = np.zeros(shape, np.float32)
    at = offsets + np.array(shape) // 2
    at = at[((at >= 0) & (at < shape)).all(axis=1)]
    np.add.at(votes, (at[:, 0], at[:, 1]), 1)
    return cv2.GaussianBlur(votes, (9, 9), np.sqrt(2), borderType=cv2.BORDER_CONSTANT)


def peaks(votes: NDArray[np.float32], covers: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of the local maxima of `votes` [h, w] where `covers` [h, w] is above 0."""
    rows, columns = np.nonzero((votes == cv2.dilate(votes, np.ones((5, 5), np.uint8))) & (votes > 0) & (covers > 0))
    return rows, columns


def coverage(hole: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return [2h-1, 2w-1]: for each offset (zero in the middle) the share of hole pixels with a known source."""
    height, width = hole.shape
    shape = cv2.getOptimalDFTSize(2 * height - 1), cv2.getOptimalDFTSize(2 * width - 1)
    spectrum = np.conj(np.fft.rfft2(hole, shape)) * np.fft.rfft2(known, shape)
    counts = np.rint(np.fft.irfft2(spectrum, shape))
    counts = np.roll(counts, (height - 1, width - 1), (0, 1))[: 2 * height - 1, : 2 * width - 1]
    return (counts / max(1, np.count_nonzero(hole))).astype(np.float32)
