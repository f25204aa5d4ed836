"""Which shifts a picture repeats itself by: the few dozen dominant offsets between similar patches.

K. He and J. Sun, "Statistics of Patch Offsets for Image Completion", ECCV 2012: matches of known patches that are not
close neighbours gather at few offsets, and those are the shifts that continue the picture into its hole.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.progress import Report

PATCH = 8
BLOCK = 32
STRIP = 128
LEVEL = 0.1
LEVEL_BONUS = 2.0
"""Offsets within LEVEL of the height from level count up to 1 + LEVEL_BONUS times: horizons, benches, walls and floors
go on sideways. Tried by eye: without it the pavement shows through a bench; with 3 a slanted one is lost."""
UNKNOWN = np.float32(2**23)
"""A squared distance no real patch pair reaches (3 channels * 64 pixels * 128**2 * 4 would, real ones do not)."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Patches and where each found its like: `at` and `offset` are [n, 2] of (row, column)."""

    at: NDArray[np.int32]
    offset: NDArray[np.int32]


def find_matches(
    lab: NDArray[np.float32],
    known: NDArray[np.bool_],
    near: NDArray[np.bool_],
    most: int,
    rng: np.random.Generator,
    report: Report,
) -> Matches:
    """The nearest like of up to `most` known patches, further away than max(height, width) / 15 (He and Sun).

    lab: [h, w, 3] in 0..255; known: [h, w]; near: [h, w], patches sampled first (around the hole).
    """
    height, width = known.shape
    if min(height, width) < PATCH:
        return Matches(np.zeros((0, 2), np.int32), np.zeros((0, 2), np.int32))
    whole = cv2.erode(known.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8), anchor=(0, 0), borderValue=0) > 0
    whole = whole[: height - PATCH + 1, : width - PATCH + 1]
    features = patch_features(lab)
    close, far = near[: whole.shape[0], : whole.shape[1]], ~near[: whole.shape[0], : whole.shape[1]]
    queries = np.concatenate(
        [pick(np.argwhere(whole & close), 2 * most // 3, rng), pick(np.argwhere(whole & far), most // 3, rng)]
    ).astype(np.int32)
    strips = in_strips(features, whole)
    least = max(2, max(known.shape) // 15)
    blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
    offsets = [np.zeros((0, 2), np.int32)]
    at = [np.zeros((0, 2), np.int32)]
    for block in blocks:
        offset, found = nearest(block, features, strips, least)
        at.append(block[found])
        offsets.append(offset[found])
        report(len(at) / (len(blocks) + 1))
    return Matches(np.concatenate(at), np.concatenate(offsets))


def nearest(
    at: NDArray[np.int32], features: NDArray[np.float32], strips: NDArray[np.float32], least: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """([n, 2] offsets from patches `at` [n, 2] to their nearest like more than `least` pixels away, [n] if any was)."""
    width = strips.shape[3]
    every = np.arange(len(at))
    asked = np.column_stack([-2 * features[at[:, 0], at[:, 1]], np.ones(len(at), np.float32)])
    distance = np.matmul(asked, strips)  # [h, strips, n, width]
    for index, (row, column) in enumerate(at.tolist()):
        rows = slice(max(0, row - least), row + least + 1)
        left, right = max(0, column - least), column + least
        for strip in range(left // width, min(right // width, strips.shape[1] - 1) + 1):
            columns = slice(max(0, left - strip * width), right - strip * width + 1)
            distance[rows, strip, index, columns] = UNKNOWN
    best = distance.min(axis=3).reshape(-1, len(at))
    strip = best.argmin(axis=0)
    row, part = np.divmod(strip, strips.shape[1])
    column = part * width + distance[row, part, every].argmin(axis=1)
    return (np.column_stack([row, column]) - at).astype(np.int32), best[strip, every] < UNKNOWN / 2


def in_strips(features: NDArray[np.float32], whole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[h, strips, features + 1, <= STRIP]: what to multiply queries with, the last being squared lengths.

    Products this small are not split over threads by the library, whose threads cost more than they bring here and
    very much more when the machine is busy.
    """
    height, width, count = features.shape
    strips = -(-width // STRIP)
    each = -(-width // strips)
    padded = np.zeros((height, strips * each, count + 1), np.float32)
    padded[:, :width, :count] = features
    padded[:, :, count] = UNKNOWN
    padded[:, :width, count][whole] = np.einsum("ij,ij->i", features[whole], features[whole])
    return np.ascontiguousarray(padded.reshape(height, strips, each, count + 1).transpose(0, 1, 3, 2))


def pick(rows: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]


def patch_features(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h-7, w-7, 16]: the low frequencies of each patch's orthonormal cosine transform, rounded to whole numbers.

    Whole numbers below 2**24 add up exactly in float32, so matches do not depend on how a matrix product is split
    over threads.
    """
    k = np.arange(PATCH)
    basis = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / PATCH) * np.sqrt(2 / PATCH)
    basis[0] /= np.sqrt(2)
    rows, columns = lab.shape[0] - PATCH + 1, lab.shape[1] - PATCH + 1
    planes = []
    for channel, most in ((0, 3), (1, 1), (2, 1)):
        plane = np.ascontiguousarray(lab[:, :, channel]) - 128
        for u in range(most + 1):
            for v in range(most + 1 - u):
                kernel_x, kernel_y = basis[v].astype(np.float32), basis[u].astype(np.float32)
                out = cv2.sepFilter2D(plane, cv2.CV_32F, kernel_x, kernel_y, anchor=(0, 0))
                planes.append(np.rint(out[:rows, :columns]))
    return np.ascontiguousarray(np.dstack(planes))


def dominant(matches: Matches, covers: NDArray[np.float32], most: int) -> NDArray[np.int32]:
    """[<= most, 2]: the peaks of the histogram of offsets (and their opposites), best first.

    covers: [2h-1, 2w-1], for each offset (zero in the middle) the share of the hole that it fills from known pixels.
    """
    votes = np.zeros(covers.shape, np.float32)
    middle = np.array([covers.shape[0] // 2, covers.shape[1] // 2])
    for sign in (1, -1):
        at = sign * matches.offset + middle
        np.add.at(votes, (at[:, 0], at[:, 1]), 1)
    smooth = cv2.GaussianBlur(votes, (9, 9), np.sqrt(2), borderType=cv2.BORDER_CONSTANT)
    peaks = (smooth == cv2.dilate(smooth, np.ones((5, 5), np.uint8))) & (smooth > 0) & (covers > 0)
    rows, columns = np.nonzero(peaks)
    slant = (rows - middle[0]) / (LEVEL * middle[0])
    score = smooth[rows, columns] * np.sqrt(covers[rows, columns]) * (1 + LEVEL_BONUS * np.exp(-(slant**2)))
    order = np.argsort(-score, kind="stable")[:most]
    return (np.column_stack([rows, columns])[order] - middle).astype(np.int32)


def coverage(hole: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[2h-1, 2w-1]: for each offset (zero in the middle) the share of hole pixels it takes from known ones."""
    height, width = hole.shape
    shape = cv2.getOptimalDFTSize(2 * height - 1), cv2.getOptimalDFTSize(2 * width - 1)
    spectrum = np.conj(np.fft.rfft2(hole, shape)) * np.fft.rfft2(known, shape)
    counts = np.rint(np.fft.irfft2(spectrum, shape))
    counts = np.roll(counts, (height - 1, width - 1), (0, 1))[: 2 * height - 1, : 2 * width - 1]
    return (counts / max(1, np.count_nonzero(hole))).astype(np.float32)
