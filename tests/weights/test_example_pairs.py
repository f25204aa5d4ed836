"""The images beside the recommended models are what the published weights make of the photo."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

from benchmarks.example_pairs import FOLDER, SCENES, pair
from tests.weights.published import PublishedFile

pytestmark = pytest.mark.weights

LEVELS = 4
"""Mean difference that WebP leaves; 2.5 was measured. What is erased differs by far more."""


@pytest.mark.parametrize("slug", SCENES)
def test_the_pair_is_what_the_weights_make(published_file: PublishedFile, slug: str) -> None:
    painted = [np.asarray(image, np.int16) for image in pair(slug, published_file(slug))]
    shown = [
        np.asarray(Image.open(FOLDER / f"{slug}-{name}.webp").convert("RGB"), np.int16) for name in ("before", "after")
    ]
    assert max(np.abs(ours - theirs).mean() for ours, theirs in zip(painted, shown, strict=True)) < LEVELS
    changed = np.abs(painted[0] - painted[1]).max(axis=2) > 30
    assert np.abs(shown[1] - painted[1])[changed].mean() < 2 * LEVELS
    assert np.abs(shown[1] - painted[0])[changed].mean() > 30
