"""Fills one object-sized hole: offsets and labels on a coarse level, carried up level by level, then blended."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.blending import blend
from inpainting.engines.quick_fill.carrying import carry_up, near_seams
from inpainting.engines.quick_fill.labelling import Labelling
from inpainting.engines.quick_fill.offsets import coverage, dominant, find_matches
from inpainting.engines.quick_fill.progress import Report, part
from inpainting.engines.quick_fill.scene import Bools, Bytes, Ints, Scene, scene_of

QUERIES = 2_000
LABELS = 50
EXTRA_LABELS = 16
UPRIGHT = 8.0
NEARBY = 3.0
"""What a pixel pays for coming from one hole's breadth above or below, or from the side: what is near fits best, and
things differ more with height than sideways. Seams cost tens to hundreds a pixel, so these only decide ties."""
COARSE_HOLE = 13_000
"""Hole pixels on the coarse level: the labelling's price grows with them."""
FULL_SIZE_HOLE = 2_000
"""Hole pixels up to which there is no coarse level at all."""
COARSE_AREA = 90_000
FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
RING = 8
SMOOTH = 4.0
"""Levels of 0..255 by which the surroundings of a hole may miss a smooth surface on average and count as one."""


def coarse_factor(hole_pixels: int, area: int) -> int:
    for factor in FACTORS:
        most = FULL_SIZE_HOLE if factor == 1 else COARSE_HOLE * factor**2
        if hole_pixels <= most and area <= COARSE_AREA * factor**2:
            return factor
    return FACTORS[-1]


def fill(image: Bytes, known: Bools, hole: Bools, effort: float, rng: np.random.Generator, report: Report) -> Bytes:
    """`image` [h, w, 3] with `hole` [h, w] filled from `known` [h, w]; what is neither is left alone and not used.

    effort: 0..1, how many offsets are looked for and tried.
    """
    report(0.0)
    trend = smooth_trend(image, known, hole)
    report(0.02)
    if trend is None:
        return fill_textured(image, known, hole, effort, rng, report)
    # a sky or a wall in slanting light: continue the slope, copy only the grain on it
    grain = image - trend + 128
    known = known & (np.abs(grain - 128).max(axis=2) < 100)
    filled = fill_textured(np.clip(np.rint(grain), 0, 255).astype(np.uint8), known, hole, effort, rng, report)
    out = image.copy()
    out[hole] = np.clip(np.rint(filled[hole] + trend[hole] - 128), 0, 255).astype(np.uint8)
    return out


def smooth_trend(image: Bytes, known: Bools, hole: Bools) -> NDArray[np.float32] | None:
    """[h, w, 3]: the quadratic surface through the hole's surroundings, or None where they are no smooth surface."""
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
    rows, columns = np.nonzero(near & known)
    if len(rows) < 30:
        return None
    scale = max(hole.shape)

    def terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)

    ring = image[rows, columns].astype(np.float64)
    basis = terms(rows / scale, columns / scale)
    surface, *_ = np.linalg.lstsq(basis, ring, rcond=None)
    off = np.abs(basis @ surface - ring).max(axis=1)
    if np.mean(off) > SMOOTH or np.percentile(off, 98) > 4 * SMOOTH:
        return None
    y, x = np.mgrid[0 : hole.shape[0], 0 : hole.shape[1]] / scale
    return (terms(y, x) @ surface).astype(np.float32)


def fill_textured(
    image: Bytes, known: Bools, hole: Bools, effort: float, rng: np.random.Generator, report: Report
) -> Bytes:
    factor = coarse_factor(int(np.count_nonzero(hole)), hole.size)
    height, width = hole.shape
    down, right = -height % factor, -width % factor
    image_padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    hole_padded, known_padded = (np.pad(plane, ((0, down), (0, right))) for plane in (hole, known))
    filled = fill_aligned(image_padded, known_padded, hole_padded, factor, effort, rng, report)
    return filled[:height, :width]


def fill_aligned(
    image: Bytes, known: Bools, hole: Bools, factor: int, effort: float, rng: np.random.Generator, report: Report
) -> Bytes:
    scene = scene_of(image, known, hole, factor)
    report(0.04)
    # shares of the time as measured: the coarse labelling, then each level four times as many pixels as the one before
    start = 0.85 if factor == 1 else 0.6 if factor < 4 else 0.3
    offsets, labels = label_coarse(scene, effort, rng, part(report, 0.04, start))
    while factor > 1:
        finer = factor // 2 if factor > 3 else 1
        coarse, scene = scene, scene_of(image, known, hole, finer)
        report(start + 0.02)
        end = 0.85 if finer == 1 else start + (0.85 - start) * 0.4
        offsets, labels = carry_up(coarse, scene, offsets, labels, factor // finer, part(report, start + 0.02, end))
        factor, start = finer, end
    return blend(image, scene, offsets, labels, part(report, 0.85, 1.0))


def label_coarse(scene: Scene, effort: float, rng: np.random.Generator, report: Report) -> tuple[Ints, Ints]:
    """(offsets [k, 2], labels [n]) of the hole's pixels."""
    pixels = len(scene.rows)
    side = 2 * (max(scene.shape) // 12) + 9
    near = cv2.dilate(scene.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    lab = scene.planes[:, :, :3].astype(np.float32)
    queries = int(effort * min(QUERIES, 400 + 3 * pixels // 10))
    matches = find_matches(lab, scene.known, near, queries, rng, part(report, 0.0, 0.2))
    labels_most = int(effort * min(LABELS, 16 + pixels // 60)) + 4
    offsets = dominant(matches, coverage(scene.hole, scene.known), labels_most)
    offsets = with_coverage(scene, offsets)
    every = np.arange(pixels)
    breadth = np.float32(np.sqrt(np.ptp(scene.rows) + 1.0) * np.sqrt(np.ptp(scene.columns) + 1.0))
    far = (UPRIGHT * abs(offsets[:, 0]) + NEARBY * abs(offsets[:, 1])).astype(np.float32) / breadth
    prices = np.stack([scene.price(every, offset) + price for offset, price in zip(offsets, far, strict=True)])
    labels = prices.argmin(axis=0).astype(np.int32)
    labelling = Labelling(scene, offsets, lambda label, nodes: prices[label, nodes], labels)
    report(0.25)
    for label in range(len(offsets)):
        labelling.expand(label)
        report(0.25 + 0.5 * (label + 1) / len(offsets))
    # a second look is worth its time only where pieces meet, and for offsets that found a place
    used = np.unique(labelling.labels).tolist()
    for index, label in enumerate(used):
        labelling.expand(label, among=near_seams(scene, labelling.labels, 3))
        report(0.75 + 0.25 * (index + 1) / len(used))
    return offsets, labelling.labels


def with_coverage(scene: Scene, offsets: Ints) -> Ints:
    """`offsets` and a few more, until each pixel of the hole has one that takes it from a known place, if any can."""
    every = slice(None)
    found = [offsets.reshape(-1, 2)]
    bare = np.ones(len(scene.rows), bool)
    for offset in offsets:
        bare &= scene.source(every, offset) < 0
    for _ in range(EXTRA_LABELS):
        if not bare.any():
            break
        plane = np.zeros(scene.shape, bool)
        plane[scene.rows[bare], scene.columns[bare]] = True
        shares = coverage(plane, scene.known)
        best = np.array(np.unravel_index(shares.argmax(), shares.shape)) - (np.array(scene.shape) - 1)
        found.append(best.astype(np.int32)[None])
        bare &= scene.source(every, found[-1][0]) < 0
    return np.concatenate(found)
