"""Each image is encoded once for a model and a VAE, and sampled anew for each image, with the results as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.model_loading import load
from tests.engines.diffusion.pipelines import CPU, ignore_step, request
from tests.support import tiny_models

ENCODINGS = {("sd", True): 2, ("sd", False): 1, ("sdxl", True): 2, ("flux-fill", True): 2} | {
    (family, True): 1 for family in ("qwen-image", "z-image")
}
"""Images that a family encodes for a request: the source image, and the kept part of it."""


@contextmanager
def counted_encodings(model: LatentModel) -> Iterator[list[int]]:
    calls: list[int] = []
    encode = model.vae.encode

    def counted(pixels: torch.Tensor) -> Any:
        calls.append(len(pixels))
        return encode(pixels)

    model.vae.encode = counted
    yield calls
    model.vae.encode = encode


def started(model: LatentModel, requested: InpaintRequest, index: int, codec: LatentCodec | None) -> list[Any]:
    text = tiny_models.encoded(model, requested.settings, requested.image.size)
    state, _ = model.start(requested, index, text, codec)
    return [tensor for tensor in (state.latents, state.image, state.masked_image, state.noise) if tensor is not None]


@pytest.mark.parametrize(("kind", "count"), ENCODINGS.items())
def test_four_images_are_drawn_from_one_encoding_of_each_image(
    tmp_path: Path, kind: tuple[str, bool], count: int
) -> None:
    model = load(tiny_models.saved(tmp_path / "model", kind[0], inpainting=kind[1]), CPU)
    requested = request(strength=0.8, num_images=4)
    with counted_encodings(model) as calls:
        alone = [started(model, requested, index, LatentCodec(model.vae, CPU.device)) for index in range(4)]
        assert len(calls) == 4 * count
        calls.clear()
        together = [started(model, requested, index, None) for index in range(4)]
        assert len(calls) == count
    for expected, found in zip(alone, together, strict=True):
        assert all(torch.equal(wanted, other) for wanted, other in zip(expected, found, strict=True))
    assert not torch.equal(together[0][0], together[1][0])


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
