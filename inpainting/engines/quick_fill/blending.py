"""Copies the pixels a labelling chose and evens out light where pieces meet: a gradient-domain blend.

P. Pérez, M. Gangnet, A. Blake, "Poisson Image Editing" (SIGGRAPH 2003), with two restraints: a jump too large to be a
change of light is an edge of the scene and stays, and a screening term keeps a correction near its seam.
"""

from __future__ import annotations

import numpy as np

from inpainting.core.geometry import Box
from inpainting.core.poisson import pull_push, screened_poisson
from inpainting.engines.quick_fill.progress import Report
from inpainting.engines.quick_fill.scene import Bytes, Floats, Indexes, Ints, Scene, bounds

SCREENING = 1e-3
"""A correction fades over about 1 / sqrt(SCREENING) = 32 pixels."""
SAME_LIGHT = 16.0
"""Levels of 0..255: jumps across a seam well above this are edges of the scene, not changes of light."""


def blend(image: Bytes, scene: Scene, offsets: Ints, labels: Ints, report: Report) -> Bytes:
    """A copy of `image` [h, w, 3] with the hole's pixels copied and evened; smooth where no label has a source."""
    box = bounds(scene.hole, 1)
    rows, columns = scene.rows - box.top, scene.columns - box.left
    source = scene.source(slice(None), offsets[labels])
    picture = image[box.slices].astype(np.float32)
    picture[rows, columns] = image.reshape(-1, 3)[source]
    hole = scene.hole[box.slices]
    picture += screened_poisson(jumps(image, scene, offsets, labels, box), hole, SCREENING, report)
    bare = np.zeros(hole.shape, bool)
    bare[rows, columns] = source < 0
    if bare.any():
        picture = pull_push(picture, (scene.known | scene.hole)[box.slices] & ~bare)
    out = image.copy()
    out[box.slices][hole] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)[hole]
    return out


def jumps(image: Bytes, scene: Scene, offsets: Ints, labels: Ints, box: Box) -> Floats:
    """[box, 3]: the divergence of what the seams should lose; zero away from them."""
    pixels = image.reshape(-1, 3)
    force = np.zeros((box.size.height, box.size.width, 3), np.float32)
    source = scene.source(slice(None), offsets[labels])

    def colour(flat: Indexes) -> Floats:
        return pixels[flat].astype(np.float32)

    def push(nodes: Indexes, jump: Floats) -> None:
        np.add.at(force, (scene.rows[nodes] - box.top, scene.columns[nodes] - box.left), jump)

    seam = labels[scene.first] != labels[scene.second]
    first, second = scene.first[seam], scene.second[seam]
    first_alien = scene.source(first, offsets[labels[second]])
    second_alien = scene.source(second, offsets[labels[first]])
    ok = (np.stack([first_alien, second_alien, source[first], source[second]]) >= 0).all(axis=0)
    first, second, first_alien, second_alien = first[ok], second[ok], first_alien[ok], second_alien[ok]
    here, there = colour(first_alien) - colour(source[first]), colour(source[second]) - colour(second_alien)
    jump = restrained((here + there) * np.float32(0.5))
    push(first, jump)
    push(second, -jump)

    height, width = scene.shape
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        rows, columns = scene.rows + down, scene.columns + right
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & (source >= 0)
        nodes = np.flatnonzero(inside)
        nodes = nodes[scene.known[rows[nodes], columns[nodes]]]
        rows, columns = rows[nodes], columns[nodes]
        there_rows, there_columns = rows + offsets[labels[nodes], 0], columns + offsets[labels[nodes], 1]
        inside = (there_rows >= 0) & (there_rows < height) & (there_columns >= 0) & (there_columns < width)
        inside[inside] = scene.known[there_rows[inside], there_columns[inside]]
        neighbour = image[rows[inside], columns[inside]].astype(np.float32)
        push(nodes[inside], restrained(neighbour - image[there_rows[inside], there_columns[inside]]))
    return force


def restrained(jump: Floats) -> Floats:
    """`jump` [n, 3], the larger the less of it."""
    squared = (jump**2).sum(axis=1, keepdims=True)
    return jump * np.exp(-squared / np.float32(SAME_LIGHT**2))
