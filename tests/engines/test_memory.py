"""The memory that painting a small hole takes beside the image and its mask, as tracemalloc counts it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import pytest
import skimage.data

from inpainting.core import masks
from inpainting.core.codecs import encode_png, shrunk
from inpainting.core.codecs.png.strips import PngStrips
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.feathering import Feather
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import Plan
from inpainting.engines.painting import paint
from tests.support.fakes import planned
from tests.support.matrix import each_value_once

WIDTH, HEIGHT = 4096, 3072
MAX_SHARE = 0.5
"""Of the image's bytes. A copy of it takes 1; one in floats takes 2 or, of an 8-bit image, 4."""
Result = TypeVar("Result")


def plan_of(depth: type, *, blur: int = 0) -> Plan:
    """A photo with grain, with two discs to repaint that are near each other."""
    rng = np.random.default_rng(0)
    grain = rng.integers(-6, 7, (HEIGHT, WIDTH, 1))
    pixels = np.clip(cv2.resize(skimage.data.coffee(), (WIDTH, HEIGHT)) + grain, 0, 255).astype(np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x in (2000, 2060):
        cv2.circle(mask, (x, 1500), 16, 255, -1)
    image = CanonicalImage(pixels if depth is np.uint8 else pixels.astype(np.uint16) * np.uint16(257))
    return planned(InpaintRequest(image, mask, PaintSettings(seed=1, mask_blur=blur)), registry.find("quick-fill"))


def peak(work: Callable[[], Result]) -> tuple[Result, int]:
    """What `work` returns, and the most bytes that it held at a time."""
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("depth", "blur"), each_value_once([np.uint8, np.uint16], [0, 8]))
def test_painting_a_small_hole_copies_no_image(depth: type, blur: int) -> None:
    plan = plan_of(depth, blur=blur)
    engine = registry.find("quick-fill")
    paint(plan, engine, lambda step: None)  # compiles and imports, which count as well
    (painting,), held = peak(lambda: paint(plan, engine, lambda step: None))
    assert held < MAX_SHARE * plan.request.image.pixels.nbytes
    assert outside_mask_changed_pixels(plan.request.image, painting.image, plan.mask) == 0


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_result_is_written_read_again_and_reduced_in_strips(depth: type) -> None:
    plan = plan_of(depth)
    (painting,) = paint(plan, registry.find("quick-fill"), lambda step: None)
    image = plan.request.image
    limit = MAX_SHARE * image.pixels.nbytes
    file, held = peak(lambda: encode_png(painting.image))
    assert held < limit + 1.2 * len(file)
    changed, held = peak(lambda: outside_mask_changed_pixels(image, PngStrips(file), plan.mask))
    assert (changed, held < limit) == (0, True)
    _, held = peak(lambda: shrunk(painting.image, 384))
    assert held < limit


def test_a_mask_is_grown_and_faded_without_floats_of_its_size() -> None:
    mask = np.zeros((4 * HEIGHT, WIDTH), np.uint8)
    mask[20:60, 20:60] = mask[-60:-20, -60:-20] = 255  # in opposite corners, so that its bounds are the whole image
    floats = 4 * mask.size
    grown, held = peak(lambda: masks.grow(mask, 9))
    assert np.count_nonzero(grown) > np.count_nonzero(mask)
    assert held < 0.7 * floats

    def fade() -> float:
        weights = Feather(grown, 9)
        return max(float(weights.rows(top, top + HEIGHT // 4).max()) for top in range(0, len(mask), HEIGHT // 4))

    highest, held = peak(fade)
    assert highest == 1
    assert held < 0.7 * floats
