"""What shares the encodings of an image, and what does not. The contract of families counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.contracts.family import counted_encodings, started
from tests.engines.diffusion.pipelines import CPU, ignore_step, request
from tests.support import tiny_models


def test_another_image_and_another_mask_are_encoded_anew(tmp_path: Path) -> None:
    model = load(tiny_models.saved(tmp_path / "model"), CPU)
    first = request(strength=0.8)
    with counted_encodings(model) as calls:
        started(model, first, 0, None)
        started(model, InpaintRequest(first.image, first.mask.T, first.settings), 0, None)
        assert len(calls) == 3  # the kept part is another one
        flipped = CanonicalImage(np.asarray(first.image.pixels[::-1].copy(), np.uint8))
        started(model, InpaintRequest(flipped, first.mask, first.settings), 0, None)
        assert len(calls) == 5


def test_requests_with_the_same_image_share_its_encodings(tmp_path: Path) -> None:
    spec: ModelSpec = tiny_models.saved(tmp_path / "model")
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=4)  # the same rows share each step, whatever was measured

    def paint(seed: int) -> Any:
        return batcher.paint(request(steps=1, strength=0.8, seed=seed, num_images=2), spec, ignore_step)[0]

    with counted_encodings(batcher.cache.get(spec)) as calls:
        images = [*paint(1), *paint(5), *paint(1)]
    assert len(calls) == 2
    assert np.array_equal(images[0], images[4])
    assert not np.array_equal(images[0], images[2])
