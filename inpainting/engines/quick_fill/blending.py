"""Copies the source pixels of a labelling and removes changes of light at its seams: a gradient-domain blend.

P. Pérez, M. Gangnet, A. Blake, "Poisson Image Editing" (SIGGRAPH 2003), with two changes: a jump too large to be a
change of light is an edge in the image and is kept, and a screening term keeps a correction near its seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inpainting.core.geometry import Box
from inpainting.core.poisson import pull_push, screened_poisson
from inpainting.engines.quick_fill.labelling.hole_graph import Bytes, Floats, HoleGraph, Indexes, Ints, bounds
from inpainting.engines.quick_fill.progress import Report


@dataclass(frozen=True, slots=True)
class Light:
    """What counts as a change of light."""

    screening: float  # a correction fades over about 1 / sqrt(screening) pixels
    same: float  # levels of 0..255; jumps across a seam well above this are edges in the image, not changes of light


HOLE_LIGHT = Light(screening=1e-4, same=50.0)
"""Corrections fade over 100 pixels. Chosen by eye: over 32 pixels and with 16 levels, patches of another tone are seen
in seas and soft backgrounds; with 60 levels the colour of an edge runs into the hole."""
BAND_LIGHT = Light(screening=1e-5, same=40.0)
"""The light for sources far from the place they are copied to: a sky changes over hundreds of pixels."""


def blend(image: Bytes, graph: HoleGraph, offsets: Ints, labels: Ints, light: Light, report: Report) -> Bytes:
    """Return `image` [h, w, 3] with the hole's pixels copied and blended; interpolated where a label has no source."""
    box = bounds(graph.hole, 1)
    rows, columns = graph.rows - box.top, graph.columns - box.left
    source = graph.source(slice(None), offsets[labels])
    filled = image[box.slices].astype(np.float32)
    filled[rows, columns] = image.reshape(-1, 3)[source]
    hole = graph.hole[box.slices]
    filled += screened_poisson(jumps(image, graph, offsets, labels, box, light), hole, light.screening, report)
    sourceless = np.zeros(hole.shape, bool)
    sourceless[rows, columns] = source < 0
    if sourceless.any():
        filled = pull_push(filled, (graph.known | graph.hole)[box.slices] & ~sourceless)
    out = image.copy()
    out[box.slices][hole] = np.clip(np.rint(filled), 0, 255).astype(np.uint8)[hole]
    return out


def jumps(image: Bytes, graph: HoleGraph, offsets: Ints, labels: Ints, box: Box, light: Light) -> Floats:
    """Return [box, 3]: the right-hand side of the Poisson equation, the jumps at the seams; zero away from them."""
    pixels = image.reshape(-1, 3)
    force = np.zeros((box.size.height, box.size.width, 3), np.float32)
    source = graph.source(slice(None), offsets[labels])

    def colour(flat: Indexes) -> Floats:
        return pixels[flat].astype(np.float32)

    def add(nodes: Indexes, jump: Floats) -> None:
        np.add.at(force, (graph.rows[nodes] - box.top, graph.columns[nodes] - box.left), jump)

    seam = labels[graph.first] != labels[graph.second]
    first, second = graph.first[seam], graph.second[seam]
    first_as_second = graph.source(first, offsets[labels[second]])
    second_as_first = graph.source(second, offsets[labels[first]])
    ok = (np.stack([first_as_second, second_as_first, source[first], source[second]]) >= 0).all(axis=0)
    first, second, first_as_second, second_as_first = first[ok], second[ok], first_as_second[ok], second_as_first[ok]
    at_first = colour(first_as_second) - colour(source[first])
    at_second = colour(source[second]) - colour(second_as_first)
    jump = attenuate((at_first + at_second) * np.float32(0.5), light)
    add(first, jump)
    add(second, -jump)

    height, width = graph.shape
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        rows, columns = graph.rows + down, graph.columns + right
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & (source >= 0)
        nodes = np.flatnonzero(inside)
        nodes = nodes[graph.known[rows[nodes], columns[nodes]]]
        rows, columns = rows[nodes], columns[nodes]
        there_rows, there_columns = rows + offsets[labels[nodes], 0], columns + offsets[labels[nodes], 1]
        inside = (there_rows >= 0) & (there_rows < height) & (there_columns >= 0) & (there_columns < width)
        inside[inside] = graph.known[there_rows[inside], there_columns[inside]]
        neighbour = image[rows[inside], columns[inside]].astype(np.float32)
        add(nodes[inside], attenuate(neighbour - image[there_rows[inside], there_columns[inside]], light))
    return force


def attenuate(jump: Floats, light: Light) -> Floats:
    """Return `jump` [n, 3], large ones reduced to nothing by a Gaussian of their size."""
    squared = (jump**2).sum(axis=1, keepdims=True)
    return jump * np.exp(-squared / np.float32(light.same**2))
