"""Lanczos' filter by the place in the whole: equal to Pillow's, and tiles equal to the whole bit for bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from inpainting.core.geometry import Box
from inpainting.core.resampling import Axis, resample, sources_of

HEIGHT, WIDTH = 41, 57
SIZES = [(62, 86), (100, 57), (164, 228), (35, 40)]
PIXELS = np.random.default_rng(1).random((HEIGHT, WIDTH, 2), np.float32)


def whole(height: int, width: int) -> np.ndarray:
    axes = Axis(HEIGHT, height), Axis(WIDTH, width)
    return resample(PIXELS, axes, (0, 0), Box(0, 0, width, height))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_it_is_the_filter_of_pillow(height: int, width: int) -> None:
    """Pillow leaves out what lies beyond the border instead of repeating the last pixel."""
    found = whole(height, width)
    for channel in range(2):
        expected = np.asarray(Image.fromarray(PIXELS[:, :, channel]).resize((width, height), Image.Resampling.LANCZOS))
        inner = slice(16, -16)
        assert np.abs(found[inner, inner, channel] - expected[inner, inner]).max() < 1e-5


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_part_equals_that_of_the_whole(height: int, width: int) -> None:
    axes = Axis(HEIGHT, height), Axis(WIDTH, width)
    expected = whole(height, width)
    for target in (*Box(0, 0, width, height).tiles(9), Box(3, 5, 4, 6)):
        source = sources_of(axes, target)
        part = resample(PIXELS[source.slices], axes, (source.top, source.left), target)
        assert np.array_equal(part, expected[target.slices])


@pytest.mark.parametrize(("length", "target"), [(10, 15), (10, 25), (7, 28), (13, 20), (100, 333)])
def test_the_tiles_of_an_axis_share_its_pixels_without_gap_or_overlap(length: int, target: int) -> None:
    axis = Axis(length, target)
    ends = [axis.targets_of(start, min(start + 3, length)) for start in range(0, length, 3)]
    assert ends[0][0] == 0
    assert ends[-1][1] == target
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ends))
