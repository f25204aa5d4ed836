"""The labelling of a hole: an expansion never makes it worse, and seams move to where they show less."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from inpainting.engines.quick_fill.labelling import Labelling
from inpainting.engines.quick_fill.scene import Scene, scene_of, unlike

OFFSETS = np.array([[0, 40], [0, -40], [30, 5], [-35, 0], [2, 55]], np.int32)


def wall() -> Scene:
    image = cv2.cvtColor(skimage.data.brick()[:160, :160], cv2.COLOR_GRAY2RGB)
    hole = np.zeros(image.shape[:2], bool)
    hole[65:95, 65:95] = True
    return scene_of(image, ~hole, hole, 1)


def labelled(scene: Scene, labels: NDArray[np.int32]) -> Labelling:
    return Labelling(scene, OFFSETS, lambda label, nodes: scene.price(nodes, OFFSETS[label]), labels)


def energy(scene: Scene, labels: NDArray[np.int32]) -> float:
    """What `labels` cost, reckoned from scratch: each pixel's price, and both ends of every pair of neighbours."""
    total = 0.0
    for label in np.unique(labels).tolist():
        total += float(scene.price(np.flatnonzero(labels == label), OFFSETS[label]).sum(dtype=np.float64))
    for end in (scene.first, scene.second):
        as_first = scene.features(end, OFFSETS[labels[scene.first]])
        as_second = scene.features(end, OFFSETS[labels[scene.second]])
        total += float(unlike(as_first, as_second).sum(dtype=np.float64))
    return total


def test_no_expansion_raises_the_energy_and_together_they_lower_it_much() -> None:
    scene = wall()
    labelling = labelled(scene, np.random.default_rng(4).integers(0, len(OFFSETS), len(scene.rows)).astype(np.int32))
    start = before = energy(scene, labelling.labels)
    for label in [*range(len(OFFSETS)), *range(len(OFFSETS))]:
        labelling.expand(label)
        after = energy(scene, labelling.labels)
        assert after <= before * (1 + 1e-5)
        before = after
    assert before < 0.2 * start


def test_an_expansion_changes_only_those_it_may() -> None:
    scene = wall()
    start = np.random.default_rng(4).integers(0, 2, len(scene.rows)).astype(np.int32)
    among = scene.columns < 80
    labelling = labelled(scene, start)
    labelling.expand(3, among=among)
    changed = labelling.labels != start
    assert changed.any()
    assert not changed[~among].any()
    assert (labelling.labels[changed] == 3).all()


def test_no_pixel_is_taken_from_the_hole_while_another_place_is_known() -> None:
    scene = wall()
    near = np.array([[0, 3], [0, 40]], np.int32)
    labelling = Labelling(
        scene, near, lambda label, nodes: scene.price(nodes, near[label]), np.zeros(len(scene.rows), np.int32)
    )
    labelling.expand(1)
    assert (scene.source(slice(None), near[labelling.labels]) >= 0).all()
