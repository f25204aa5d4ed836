"""The guide continues edges that no shift continues, in plain surroundings, and keeps out of busy ones."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data

from inpainting.core import compiled
from inpainting.engines.quick_fill import filling
from inpainting.engines.quick_fill.filling import Search, fill, smooth_trend
from inpainting.engines.quick_fill.guides.guide import Guide, make_guide
from inpainting.engines.quick_fill.labelling.colour_cost import compute_features
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Bytes, build_graph
from tests.support.quick_fill import disc, paint

needs_numba = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")


def table(height: int = 200, width: int = 260) -> tuple[Bytes, Bools, Bools]:
    """Return (image, hole, table): a brown round table before a light wall, with grain, and a hole across its edge."""
    y, x = np.mgrid[:height, :width]
    brown = (x - 130) ** 2 + (y - 330) ** 2 < 230**2
    image = np.where(brown[:, :, None], (150, 110, 70), (200, 205, 215)).astype(np.float32)
    image += np.random.default_rng(3).normal(0, 3, (height, width, 1)).astype(np.float32)
    hole = np.zeros((height, width), bool)
    hole[60:150, 100:165] = True
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1), 0, 255).astype(np.uint8), hole, brown


def guide_of(image: Bytes, hole: Bools, seed: int = 0) -> Guide | None:
    graph = build_graph(image, ~hole, hole, 1)
    return make_guide(graph, compute_features(graph)[0], np.random.default_rng(seed))


@needs_numba
def test_a_round_edge_goes_on_in_the_guide() -> None:
    image, hole, brown = table()
    guide = guide_of(image, hole)
    assert guide is not None
    dark = guide.features[:, :, 0] < 155  # between the lightness of the table and that of the wall
    assert np.count_nonzero((dark != brown) & hole) < 0.03 * np.count_nonzero(hole)
    assert guide_of(image, hole, seed=0).features.tobytes() == guide.features.tobytes()  # type: ignore[union-attr]


@needs_numba
def test_a_filling_follows_the_guide() -> None:
    image, hole, brown = table()
    wrong = {True: 0, False: 0}
    for guided in wrong:
        for seed in range(3):
            rng = np.random.default_rng(seed)
            filled = fill(image, ~hole, hole, Search(guided=guided), rng, lambda share: None).image
            wrong[guided] += int(np.count_nonzero(((filled[:, :, 2] < 140) != brown) & hole))
    assert wrong[True] < 0.8 * wrong[False]


@needs_numba
def test_there_is_no_guide_in_busy_surroundings() -> None:
    assert guide_of(*table()[:2]) is not None
    image = cv2.resize(skimage.data.gravel(), (200, 200), interpolation=cv2.INTER_AREA)
    hole = disc(image.shape, (100, 100), 30) > 0
    assert guide_of(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), hole) is None


@needs_numba
def test_there_is_none_without_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    image, hole, _ = table()
    assert guide_of(image, hole) is not None
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    assert guide_of(image, hole) is None


@needs_numba
def test_every_second_image_is_made_without_a_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    image, hole, _ = table()
    mask = np.where(hole, 255, 0).astype(np.uint8)
    guided = paint(image, mask, num_images=2)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    without = paint(image, mask, num_images=2)
    assert guided[0].tobytes() != without[0].tobytes()
    assert guided[1].tobytes() == without[1].tobytes()


@needs_numba
def test_so_it_is_where_a_trend_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:160, :200].astype(np.float32)
    sky = np.stack([90 + 0.4 * x, 120 + 0.3 * y, 220 - 0.2 * x], axis=2)
    image = np.clip(sky + np.random.default_rng(0).normal(0, 2, sky.shape), 0, 255).astype(np.uint8)
    mask = disc(image.shape, (95, 70), 28)
    made: list[Guide | None] = []

    def noted(*arguments: Any) -> Guide | None:
        made.append(make_guide(*arguments))
        return made[-1]

    monkeypatch.setattr(filling, "make_guide", noted)
    paint(image, mask, num_images=2)
    assert len(made) == 1
    assert made[0] is not None


def test_a_post_across_the_surroundings_does_not_hide_a_smooth_trend() -> None:
    y, x = np.mgrid[:160, :200].astype(np.float32)
    sky = np.stack([90 + 0.4 * x, 120 + 0.3 * y, 220 - 0.2 * x], axis=2)
    image = np.rint(sky).astype(np.uint8)
    image[60:, 92:98] = (70, 50, 30)
    hole = disc(image.shape, (95, 70), 28) > 0
    trend = smooth_trend(image, ~hole, hole)
    assert trend is not None
    assert np.abs(trend - sky)[hole].max() < 2
