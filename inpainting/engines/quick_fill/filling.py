"""Fills one object-sized hole: offsets and labels on a coarse level, carried up level by level, then blended."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.blending import membrane, smooth_fill
from inpainting.engines.quick_fill.labelling import REACH, Labelling, Scene
from inpainting.engines.quick_fill.offsets import coverage, dominant, find_matches
from inpainting.engines.quick_fill.progress import Report, part

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int32]

QUERIES = 2_600
LABELS = 60
EXTRA_LABELS = 16
UPRIGHT = np.float32(8)
COARSE_HOLE = 13_000
"""Hole pixels on the coarse level: the labelling's price grows with them."""
FULL_SIZE_HOLE = 2_000
"""Hole pixels up to which there is no coarse level at all."""
COARSE_AREA = 90_000
FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
RING = 8
SMOOTH = 4.0
"""Levels of 0..255 by which the surroundings of a hole may miss a smooth surface on average and count as one."""
SCREENING = 1e-3
SAME_LIGHT = 16.0
"""Levels of 0..255: jumps across a seam well above this are edges of the scene, not changes of light."""


def coarse_factor(hole_pixels: int, area: int) -> int:
    for factor in FACTORS:
        most = FULL_SIZE_HOLE if factor == 1 else COARSE_HOLE * factor**2
        if hole_pixels <= most and area <= COARSE_AREA * factor**2:
            return factor
    return FACTORS[-1]


def fill(image: Bytes, known: Bools, hole: Bools, rng: np.random.Generator, report: Report) -> Bytes:
    """`image` [h, w, 3] with `hole` [h, w] filled from `known` [h, w]; what is neither is left alone and not used."""
    trend = smooth_trend(image, known, hole)
    if trend is None:
        return fill_textured(image, known, hole, rng, report)
    # a sky or a wall in slanting light: continue the slope, copy only the grain on it
    grain = image - trend + 128
    known = known & (np.abs(grain - 128).max(axis=2) < 100)
    filled = fill_textured(np.clip(np.rint(grain), 0, 255).astype(np.uint8), known, hole, rng, report)
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


def fill_textured(image: Bytes, known: Bools, hole: Bools, rng: np.random.Generator, report: Report) -> Bytes:
    factor = coarse_factor(np.count_nonzero(hole), hole.size)
    height, width = hole.shape
    down, right = -height % factor, -width % factor
    image_padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    hole_padded, known_padded = (np.pad(plane, ((0, down), (0, right))) for plane in (hole, known))
    filled = fill_aligned(image_padded, known_padded, hole_padded, factor, rng, report)
    return filled[:height, :width]


def fill_aligned(
    image: Bytes, known: Bools, hole: Bools, factor: int, rng: np.random.Generator, report: Report
) -> Bytes:
    scene = scene_at(image, known, hole, factor)
    offsets, labels = label_coarse(scene, rng, part(report, 0.0, 0.6))
    while factor > 1:
        finer = factor // 2 if factor > 3 else 1
        start = 0.6 + 0.25 / factor
        scene, offsets, labels = carry_up(
            scene, scene_at(image, known, hole, finer), offsets, labels, factor // finer, part(report, start, 0.9)
        )
        factor = finer
    report(0.9)
    out = blend(image, scene, offsets, labels)
    report(1.0)
    return out


def scene_at(image: Bytes, known: Bools, hole: Bools, factor: int) -> Scene:
    if factor > 1:
        size = image.shape[1] // factor, image.shape[0] // factor
        hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        known = (cv2.resize((~known).astype(np.float32), size, interpolation=cv2.INTER_AREA) == 0) & ~hole
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Scene(cv2.cvtColor(image, cv2.COLOR_RGB2Lab).astype(np.float32), known, hole)


def label_coarse(scene: Scene, rng: np.random.Generator, report: Report) -> tuple[Ints, Ints]:
    """(offsets [k, 2], labels [n]) of the hole's pixels."""
    side = 2 * (max(scene.shape) // 12) + 9
    near = cv2.dilate(scene.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    pixels = len(scene.rows)
    matches = find_matches(scene.lab, scene.known, near, min(QUERIES, 400 + 2 * pixels), rng)
    report(0.2)
    offsets = dominant(matches, coverage(scene.hole, scene.known), min(LABELS, 16 + pixels // 60))
    offsets = with_coverage(scene, offsets)
    box = bounds(scene.hole, 2 * REACH + 1)
    scale = np.float32(np.sqrt(np.ptp(scene.rows) + 1.0) * np.sqrt(np.ptp(scene.columns) + 1.0))
    prices = np.stack([scene.unary(offset, box) + UPRIGHT * abs(offset[0]) / scale for offset in offsets])
    labelling = Labelling(scene, offsets, lambda label: prices[label], prices.argmin(axis=0).astype(np.int32))
    report(0.25)
    for label in range(len(offsets)):
        labelling.expand(label)
        report(0.25 + 0.5 * (label + 1) / len(offsets))
    # a second look is worth its time only where pieces meet
    for label in range(len(offsets)):
        labelling.expand(label, among=near_seams(scene, labelling.labels, 3))
        report(0.75 + 0.25 * (label + 1) / len(offsets))
    return offsets, labelling.labels


def with_coverage(scene: Scene, offsets: Ints) -> Ints:
    """`offsets` and a few more, until each pixel of the hole has one that takes it from a known place, if any can."""
    height, width = scene.shape
    every = slice(None)
    left = scene.hole.copy()
    for offset in offsets:
        left[scene.rows, scene.columns] &= ~scene.known_flat[scene.source(every, offset)]
    more = [offsets.reshape(-1, 2)]
    for _ in range(EXTRA_LABELS):
        if not left.any():
            break
        shares = coverage(left, scene.known)
        best = np.array(np.unravel_index(shares.argmax(), shares.shape)) - [height - 1, width - 1]
        offset = best.astype(np.int32)
        more.append(offset[None])
        left[scene.rows, scene.columns] &= ~scene.known_flat[scene.source(every, offset)]
    return np.concatenate(more)


def bounds(plane: Bools, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), min(plane.shape[0], int(rows[-1]) + margin + 1)),
        slice(max(0, int(columns[0]) - margin), min(plane.shape[1], int(columns[-1]) + margin + 1)),
    )


def carry_up(
    coarse: Scene, fine: Scene, offsets: Ints, labels: Ints, ratio: int, report: Report
) -> tuple[Scene, Ints, Ints]:
    """The same labelling `ratio` times finer: offsets moved by a pixel where that fits better, seams cut anew."""
    plane = np.full(coarse.shape, -1, np.int32)
    plane[coarse.rows, coarse.columns] = labels
    plane = np.repeat(np.repeat(plane, ratio, axis=0), ratio, axis=1)
    labels = plane[fine.rows, fine.columns]
    used = np.unique(labels)
    offsets = offsets[used] * ratio
    labels = np.searchsorted(used, labels).astype(np.int32)
    offsets = nudge(fine, offsets, labels)
    report(0.3)
    box = bounds(fine.hole, 2 * REACH + 1)
    labelling = Labelling(fine, offsets, lambda label: fine.unary(offsets[label], box), labels)
    band = near_seams(fine, labels, ratio + 1) | (labelling.price >= 1e5)
    for label in range(len(offsets)):
        at = np.zeros(fine.shape, np.uint8)
        own = labelling.labels == label
        at[fine.rows[own], fine.columns[own]] = 1
        side = 4 * ratio + 3
        reach = cv2.dilate(at, np.ones((side, side), np.uint8))[fine.rows, fine.columns] > 0
        labelling.expand(label, among=band & reach)
        report(0.3 + 0.7 * (label + 1) / len(offsets))
    return fine, offsets, labelling.labels


def near_seams(scene: Scene, labels: Ints, reach: int) -> Bools:
    seam = np.zeros(scene.shape, np.uint8)
    at = labels[scene.first] != labels[scene.second]
    for nodes in (scene.first[at], scene.second[at]):
        seam[scene.rows[nodes], scene.columns[nodes]] = 1
    side = 2 * reach + 1
    return cv2.dilate(seam, np.ones((side, side), np.uint8))[scene.rows, scene.columns] > 0


def nudge(scene: Scene, offsets: Ints, labels: Ints) -> Ints:
    """Each offset moved by up to a pixel, to where its piece fits what lies around it best."""
    width = scene.shape[1]
    picture = scene.features[:-1].copy()
    flat = scene.rows.astype(np.int64) * width + scene.columns
    picture[flat] = scene.features[scene.source(slice(None), offsets[labels])]
    plane = np.full(scene.shape, -1, np.int32)
    plane[scene.rows, scene.columns] = labels
    moved = offsets.copy()
    for label, offset in enumerate(offsets):
        own = plane == label
        box = bounds(own, 2)
        inside = own[box]
        ring = (cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~inside
        rows, columns = np.nonzero(ring)
        rows, columns = rows + box[0].start, columns + box[1].start
        here = picture[rows * width + columns]
        nodes = np.flatnonzero(labels == label)
        best = None
        for down, right in sorted(((d, r) for d in (-1, 0, 1) for r in (-1, 0, 1)), key=lambda at: abs(at[0]) + abs(at[1])):
            candidate = offset + np.array([down, right], np.int32)
            there_row, there_column = rows + candidate[0], columns + candidate[1]
            ok = (there_row >= 0) & (there_row < scene.shape[0]) & (there_column >= 0) & (there_column < width)
            there = scene.features[np.where(ok, there_row * width + there_column, len(picture))]
            cost = np.minimum(np.sqrt(((here - there) ** 2).sum(axis=1)), 120).sum()
            cost += 120 * np.count_nonzero(~scene.known_flat[scene.source(nodes, candidate)])
            if best is None or cost < best[0] * 0.999:
                best = cost, candidate
        if best is not None:
            moved[label] = best[1]
            picture[flat[nodes]] = scene.features[scene.source(nodes, moved[label])]
    return moved


def blend(image: Bytes, scene: Scene, offsets: Ints, labels: Ints) -> Bytes:
    """Full-size pixels copied from where the labels say, seams evened out; what no label covers is filled smoothly."""
    box = bounds(scene.hole, 1)
    width = scene.shape[1]
    flat = np.vstack([image.reshape(-1, 3).astype(np.float32), np.zeros((1, 3), np.float32)])
    every = slice(None)
    source = scene.source(every, offsets[labels])
    covered = scene.known_flat[source]
    picture = image.astype(np.float32)
    picture[scene.rows, scene.columns] = flat[source]
    force = np.zeros_like(picture)
    first, second = scene.first, scene.second
    seam = (labels[first] != labels[second]) & covered[first] & covered[second]
    first, second = first[seam], second[seam]
    first_alien, second_alien = scene.source(first, offsets[labels[second]]), scene.source(second, offsets[labels[first]])
    ok = scene.known_flat[first_alien] & scene.known_flat[second_alien]
    first, second, first_alien, second_alien = first[ok], second[ok], first_alien[ok], second_alien[ok]
    jump = 0.5 * (flat[first_alien] - flat[source[first]] + flat[source[second]] - flat[second_alien])
    jump = restrained(jump)
    np.add.at(force, (scene.rows[first], scene.columns[first]), jump)
    np.add.at(force, (scene.rows[second], scene.columns[second]), -jump)
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        rows, columns = scene.rows + down, scene.columns + right
        ok = (rows >= 0) & (rows < scene.shape[0]) & (columns >= 0) & (columns < width) & covered
        nodes = np.flatnonzero(ok)
        rows, columns = rows[nodes], columns[nodes]
        offset = offsets[labels[nodes]]
        there_row, there_column = rows + offset[:, 0], columns + offset[:, 1]
        ok = scene.known[rows, columns] & (there_row >= 0) & (there_row < scene.shape[0])
        ok &= (there_column >= 0) & (there_column < width)
        there = np.where(ok, there_row * width + there_column, scene.known.size)
        ok &= scene.known_flat[there]
        nodes, there = nodes[ok], there[ok]
        jump = restrained(flat[rows[ok] * width + columns[ok]] - flat[there])
        np.add.at(force, (scene.rows[nodes], scene.columns[nodes]), jump)
    out = image.copy()
    hole = scene.hole[box]
    correction = membrane(force[box], hole, SCREENING)
    patch = picture[box] + correction
    if not covered.all():
        bare = np.zeros(scene.shape, bool)
        bare[scene.rows[~covered], scene.columns[~covered]] = True
        patch = smooth_fill(patch, ~bare[box] & (scene.known | scene.hole)[box])
    out[box][hole] = np.clip(np.rint(patch), 0, 255).astype(np.uint8)[hole]
    return out


def restrained(jump: NDArray[np.float32]) -> NDArray[np.float32]:
    size = np.sqrt((jump**2).sum(axis=1, keepdims=True))
    return (jump * np.exp(-((size / SAME_LIGHT) ** 2))).astype(np.float32)
