"""Fills one object-sized hole: offsets and labels on a coarse level, upsampled level by level, then blended."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.bands import Band
from inpainting.engines.quick_fill.blending import BAND_LIGHT, HOLE_LIGHT, blend
from inpainting.engines.quick_fill.guides.band_guide import add_affordable, blurred, make_band_guide
from inpainting.engines.quick_fill.guides.crossing_guide import add_crossing, is_narrow, make_crossing_guide
from inpainting.engines.quick_fill.guides.guide import make_guide
from inpainting.engines.quick_fill.guides.painted_guide import make_painted_guide
from inpainting.engines.quick_fill.labelling.colour_cost import colour_costs, compute_features
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Bytes, HoleGraph, Ints, build_graph
from inpainting.engines.quick_fill.labelling.labelling import Labelling
from inpainting.engines.quick_fill.labelling.offsets import coverage, dominant, find_matches
from inpainting.engines.quick_fill.labelling.repetition import RepetitionLabelling
from inpainting.engines.quick_fill.labelling.upsampling import find_nodes_near_seams, upsample
from inpainting.engines.quick_fill.progress import Report, subrange

QUERIES = 4_000
"""Patches whose most similar patch is searched for, at most."""
LABELS = 100
"""Offsets that are tried, at most; EXTRA_LABELS more where these leave pixels without a source. Chosen by eye: with 50,
results differ from seed to seed from perfect to broken; with 150 pavement shows through a bench."""
EXTRA_LABELS = 16
VERTICAL_COST, HORIZONTAL_COST = 8.0, 3.0
"""Data cost of a source that lies one breadth of the hole above or below, or to the side: near sources fit best, and
images change more with height than sideways. Seams cost tens to hundreds a pixel, so these only decide ties."""
COARSE_HOLE = 13_000
"""Hole pixels on the coarse level: the labelling's time grows with them."""
FULL_SIZE_HOLE = 2_000
"""Hole pixels up to which there is no coarse level at all."""
COARSE_AREA = 90_000
"""Pixels of the image on the coarse level, at most."""
FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
RING = 8
"""Pixels around the hole that a smooth trend is fitted to."""
SMOOTH = 4.0
"""Levels of 0..255: the surroundings of a hole count as smooth up to this mean deviation from a quadratic surface."""
SMOOTH_SHARE, TREND_ROUNDS = 0.85, 4
"""The share of the surroundings that must deviate by at most four times as much, and how often a surface is fitted."""
NARROW_SHARE = 1.0
"""The same share for narrow holes, or the sky behind a wire would cut a mast."""


@dataclass(frozen=True, slots=True)
class Search:
    """How a filling is looked for."""

    effort: float = 1.0  # 0..1, the share of the usual number of offsets that is searched for and tried
    guided: bool = True  # whether a guide is made where it can be trusted
    painted: Bytes | None = None  # [h, w, 3], the whole image as a network painted it, in place of a guide of our own


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """A filled hole."""

    image: Bytes  # [h, w, 3]
    graph: HoleGraph  # of the image, padded at the right and below
    offsets: Ints  # [nodes of the graph, 2], from each pixel of the hole to the one that was copied before blending


def coarse_factor(hole_pixels: int, area: int) -> int:
    for factor in FACTORS:
        max_pixels = FULL_SIZE_HOLE if factor == 1 else COARSE_HOLE * factor**2
        if hole_pixels <= max_pixels and area <= COARSE_AREA * factor**2:
            return factor
    return FACTORS[-1]


def fill(
    image: Bytes,
    known: Bools,
    hole: Bools,
    search: Search,
    rng: np.random.Generator,
    report: Report,
    band: Band | None = None,
) -> Filling:
    """Return `image` [h, w, 3] with `hole` [h, w] filled from `known` [h, w]; other pixels are neither changed nor
    used.

    band: None for a hole that is surrounded by known pixels; a trend would run away where they are on one side only.
    What a network painted has its own.
    """
    report(0.0)
    trend = None if band or search.painted is not None else smooth_trend(image, known, hole)
    report(0.02)
    if trend is None:
        return fill_textured(image, known, hole, search, rng, report, band)
    # a sky, or a wall in slanting light: continue the trend and fill only the residual
    residual = image - trend + 128
    known = known & (np.abs(residual - 128).max(axis=2) < 100)
    filled = fill_textured(np.clip(np.rint(residual), 0, 255).astype(np.uint8), known, hole, search, rng, report)
    out = image.copy()
    out[hole] = np.clip(np.rint(filled.image[hole] + trend[hole] - 128), 0, 255).astype(np.uint8)
    return replace(filled, image=out)


def smooth_trend(image: Bytes, known: Bools, hole: Bools) -> NDArray[np.float32] | None:
    """Return [h, w, 3]: the quadratic surface fitted to the hole's surroundings, or None where they are not smooth."""
    surroundings = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
    rows, columns = np.nonzero(surroundings & known)
    if len(rows) < 30:
        return None
    scale = max(hole.shape)

    def terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)

    ring = image[rows, columns].astype(np.float64)
    basis = terms(rows / scale, columns / scale)
    inside = np.ones(len(ring), bool)
    for _ in range(TREND_ROUNDS):  # least squares without what stands out, as a post before a sky does
        surface, *_ = np.linalg.lstsq(basis[inside], ring[inside], rcond=None)
        deviation = np.abs(basis @ surface - ring).max(axis=1)
        inside = deviation <= max(4 * SMOOTH, float(np.percentile(deviation, 100 * SMOOTH_SHARE)))
    inside = deviation <= 4 * SMOOTH
    if np.mean(inside) < (NARROW_SHARE if is_narrow(hole) else SMOOTH_SHARE) or np.mean(deviation[inside]) > SMOOTH:
        return None
    y, x = np.mgrid[0 : hole.shape[0], 0 : hole.shape[1]] / scale
    return (terms(y, x) @ surface).astype(np.float32)


def fill_textured(
    image: Bytes,
    known: Bools,
    hole: Bools,
    search: Search,
    rng: np.random.Generator,
    report: Report,
    band: Band | None = None,
) -> Filling:
    """Return what `fill` returns, by copying alone."""
    factor = coarse_factor(int(np.count_nonzero(hole)), hole.size)
    height, width = hole.shape
    down, right = -height % factor, -width % factor  # sides must be multiples of the coarse factor
    image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    if search.painted is not None:
        painted = cv2.copyMakeBorder(search.painted, 0, down, 0, right, cv2.BORDER_REPLICATE)
        search = replace(search, painted=painted)
    hole, known = (np.pad(plane, ((0, down), (0, right))) for plane in (hole, known))
    graph = build_graph(image, known, hole, factor)
    report(0.04)
    # measured shares of the time: the coarse labelling, then levels of four times as many pixels each
    start = 0.85 if factor == 1 else 0.6 if factor < 4 else 0.3
    offsets, labels = label_coarse(graph, search, rng, subrange(report, 0.04, start), band)
    while factor > 1:
        finer = factor // 2 if factor > 3 else 1
        coarse, graph = graph, build_graph(image, known, hole, finer)
        report(start + 0.02)
        end = 0.85 if finer == 1 else start + (0.85 - start) * 0.4
        offsets, labels = upsample(coarse, graph, offsets, labels, factor // finer, subrange(report, start + 0.02, end))
        factor, start = finer, end
    light = HOLE_LIGHT if band is None else BAND_LIGHT
    filled = blend(image, graph, offsets, labels, light, subrange(report, 0.85, 1.0))[:height, :width]
    return Filling(filled, graph, offsets[labels])


def label_coarse(
    graph: HoleGraph, search: Search, rng: np.random.Generator, report: Report, band: Band | None
) -> tuple[Ints, Ints]:
    """Return (offsets [k, 2], labels [n]) of the hole's pixels on the coarse level."""
    pixels = len(graph.rows)
    side = 2 * (max(graph.shape) // 12) + 9
    near = cv2.dilate(graph.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    lab = graph.features[:, :, :3].astype(np.float32)
    queries = int(search.effort * min(QUERIES, 800 + 6 * pixels // 10))
    known = graph.known if band is None else band.without_margin(graph)
    matches = find_matches(lab, known, near, queries, rng, subrange(report, 0.0, 0.2))
    most_labels = int(search.effort * min(LABELS, 32 + pixels // 30)) + 4
    covers = coverage(graph.hole, graph.known)
    offsets = dominant(matches, covers, most_labels)
    features, has_features = compute_features(graph)
    guide, compared = None, features
    if search.painted is not None:
        guide = make_painted_guide(graph, search.painted, band)
    elif band:
        compared = blurred(graph, features)
        guide = make_band_guide(graph, compared, band)
    elif is_narrow(graph.hole):
        guide = make_crossing_guide(graph, features)
        offsets = add_crossing(graph, offsets, guide, features)
    elif search.guided:
        guide = make_guide(graph, features, rng)
    if guide:
        offsets = append_new(offsets, guide.suggested(covers))
    offsets = add_coverage(graph, offsets)
    if band:
        offsets = np.concatenate([offsets, band.offsets(graph)])
        if guide:
            offsets = add_affordable(graph, offsets, guide, compared, band)
    costs = colour_costs(graph, offsets, features, has_features)
    if guide:
        costs += guide.costs(graph, offsets, compared)
    if band:
        costs += band.costs(graph, offsets)
    else:
        breadth = np.float32(np.sqrt(np.ptp(graph.rows) + 1.0) * np.sqrt(np.ptp(graph.columns) + 1.0))
        far = VERTICAL_COST * abs(offsets[:, 0]) + HORIZONTAL_COST * abs(offsets[:, 1])
        costs += (far.astype(np.float32) / breadth)[:, None]
    every = np.arange(pixels)
    for cost, offset in zip(costs, offsets, strict=True):
        cost += graph.data_cost(every, offset)
    labels = costs.argmin(axis=0).astype(np.int32)
    if band is None:
        labelling = Labelling(graph, offsets, lambda label, nodes: costs[label, nodes], labels)
    else:
        labelling = RepetitionLabelling(graph, offsets, costs, labels, band.originals(graph))
    report(0.25)
    for label in range(len(offsets)):
        labelling.expand(label)
        report(0.25 + 0.5 * (label + 1) / len(offsets))
    # a second round is worth its time only near seams, and for offsets in use; in bands all may repeat less
    again = np.unique(labelling.labels).tolist()
    for index, label in enumerate(again):
        labelling.expand(label, candidates=find_nodes_near_seams(graph, labelling.labels, 3) if band is None else None)
        report(0.75 + 0.25 * (index + 1) / len(again))
    return offsets, labelling.labels


def append_new(offsets: Ints, others: Ints) -> Ints:
    """Return `offsets` [k, 2] and those of `others` [m, 2] that are not among them."""
    new = (others[:, None] != offsets).any(axis=2).all(axis=1)
    return np.concatenate([offsets, others[new]])


def add_coverage(graph: HoleGraph, offsets: Ints) -> Ints:
    """Return `offsets` and a few more, until each pixel of the hole has one with a known source, as far as possible."""
    every = slice(None)
    found = [offsets.reshape(-1, 2)]
    uncovered = np.ones(len(graph.rows), bool)
    for offset in offsets:
        uncovered &= graph.source(every, offset) < 0
    for _ in range(EXTRA_LABELS):
        if not uncovered.any():
            break
        plane = np.zeros(graph.shape, bool)
        plane[graph.rows[uncovered], graph.columns[uncovered]] = True
        shares = coverage(plane, graph.known)
        best = np.array(np.unravel_index(shares.argmax(), shares.shape)) - (np.array(graph.shape) - 1)
        found.append(best.astype(np.int32)[None])
        uncovered &= graph.source(every, found[-1][0]) < 0
    return np.concatenate(found)
