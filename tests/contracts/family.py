"""What every family of diffusion models must do. A family's tests subclass a contract and name its pipeline."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.files import fingerprint
from tests.engines.diffusion import regional_reference
from tests.engines.diffusion.pipelines import CPU, STEPS, denoised, ignore_step
from tests.engines.diffusion.serving.batches import wait_until
from tests.support import tiny_models

Images = list[NDArray[np.uint8]]


def assert_equal(latents: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for rounding."""
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def assert_same_image(image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Equal but for rounding."""
    assert np.abs(image.astype(int) - expected).max() <= 1


class FamilyContract:
    """A single result equals that of diffusers' pipeline, a batched one a single one, and nothing is encoded twice.

    A subclass for each family sets `family` and the other attributes, and defines `request` and `reference_result`.
    """

    family: ClassVar[str]
    inpainting: ClassVar[bool] = True
    """Whether the model is one that was trained for inpainting, where the family has both."""
    network: ClassVar[str] = "transformer"
    """The attribute of the loaded model that computes a step."""
    cases: ClassVar[Sequence[dict[str, Any]]]
    """Settings of the requests whose latents are compared."""
    batched: ClassVar[Sequence[dict[str, Any]]]
    """Settings of the jobs that share calls, besides a prompt, a seed and a number of steps."""
    encoded_images: ClassVar[int] = 1
    """Images that are encoded for a request: the source image, and the kept part of it where the network takes it."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=str)

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
        folder = tmp_path_factory.mktemp("models") / cls.family
        return tiny_models.saved(folder, cls.family, inpainting=cls.inpainting)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, spec: ModelSpec) -> Any:
        """A loaded model that no test changes."""
        return load(spec, CPU)

    def request(self, **settings: Any) -> InpaintRequest:
        raise NotImplementedError

    def reference_result(self, model: LatentModel, requested: InpaintRequest, **changes: Any) -> Any:
        """Latents as our own by diffusers' pipeline, or its images with output_type="pil". changes: its arguments."""
        raise NotImplementedError

    def paint(self, model: LatentModel, requested: InpaintRequest, *, max_rows: int = 1) -> Images:
        """The images of a request, by default each in calls of its own."""
        return batcher_with(model, max_rows=max_rows).paint(requested, model.spec, ignore_step)[0]

    def test_a_single_generation_equals_the_reference_pipeline(self, model: Any, case: dict[str, Any]) -> None:
        requested = self.request(**case)
        assert_equal(denoised(model, requested), self.reference_result(model, requested))

    def test_its_decoded_image_equals_the_reference_pipeline(self, model: Any) -> None:
        requested = self.request(strength=0.75)
        (image,) = model.codec().decode(denoised(model, requested))
        assert_same_image(image, np.asarray(self.reference_result(model, requested, output_type="pil")[0]))

    def test_jobs_that_join_late_share_the_calls_with_the_results_they_have_alone(self, model: Any) -> None:
        requested = [
            self.request(prompt="a red bus " * (1 + seed), seed=seed, steps=STEPS + seed % 3, **settings)
            for seed, settings in enumerate(self.batched)
        ]
        batcher = batcher_with(model, max_rows=32)
        rows, begun, others_wait = list[int](), threading.Event(), threading.Event()

        def count(module: torch.nn.Module, given: Any, named: dict[str, Any]) -> None:
            """Count the rows of each call, and let the first wait until all other jobs have arrived."""
            rows.append(len(given[0] if given else named["hidden_states"]))
            begun.set()
            assert others_wait.wait(30)

        hook = getattr(model, self.network).register_forward_pre_hook(count, with_kwargs=True)
        with ThreadPoolExecutor(len(requested)) as pool:
            first = pool.submit(batcher.paint, requested[0], model.spec, ignore_step)
            assert begun.wait(30)
            rest = [pool.submit(batcher.paint, request, model.spec, ignore_step) for request in requested[1:]]
            wait_until(lambda: batcher.arrival_count == len(rest))
            others_wait.set()
            results = [future.result(60)[0][0] for future in (first, *rest)]
        hook.remove()
        assert rows[0] <= 2
        assert max(rows) >= len(requested)
        assert len(rows) <= 2 * (STEPS + 2)  # Heun's method takes two calls a step
        for request, result in zip(requested, results, strict=True):
            assert_same_image(result, self.paint(model, request)[0])

    def test_each_image_of_a_request_equals_one_with_the_next_seed(self, model: Any) -> None:
        several = self.paint(model, self.request(num_images=3, guidance_scale=3.0), max_rows=32)
        for number, image in enumerate(several):
            assert_same_image(image, self.paint(model, self.request(seed=7 + number, guidance_scale=3.0))[0])

    def test_regions_equal_a_loop_over_their_prompts_in_the_reference_pipeline(self, model: Any) -> None:
        requested = regional_reference.two_regions(self.request(guidance_scale=3.0))
        latents = regional_reference.denoised(model, requested)
        network = getattr(model, self.network)
        assert_equal(
            latents,
            regional_reference.reference_result(network, requested, lambda one: self.reference_result(model, one)),
        )
        difference = float((latents - denoised(model, requested)).abs().max())
        assert difference > 5e-3, difference

    def test_equal_texts_are_encoded_once_and_others_apart(self, spec: ModelSpec, model: Any) -> None:
        size, calls = Size(64, 64), list[int]()
        texts = [
            PaintSettings(prompt=f"a {colour} tram", negative_prompt="dust", guidance_scale=5.0)
            for colour in ("red", "blue", "red", "blue")
        ]
        hook = model.pipeline.text_encoder.register_forward_pre_hook(lambda *given: calls.append(1))
        found = [tiny_models.encoded(model, text, size).embeds for text in texts]
        hook.remove()
        has_negative_prompt = "negative_prompt" not in families.get(self.family).ignored_settings
        assert len(calls) == 2 + has_negative_prompt
        assert torch.equal(found[0], found[2])
        assert not torch.equal(found[0], found[1])
        assert torch.equal(found[1], tiny_models.encoded(load(spec, CPU), texts[1], size).embeds)

    def test_four_images_are_drawn_from_one_encoding_of_each_image(self, model: Any) -> None:
        requested = self.request(strength=0.8, num_images=4)
        mirrored = np.ascontiguousarray(np.asarray(requested.image.pixels, np.uint8)[:, ::-1])
        requested = replace(requested, image=CanonicalImage(mirrored))  # which no other test encodes
        with counted_encodings(model) as calls:
            alone = [started(model, requested, index, LatentCodec(model.vae, CPU.device)) for index in range(4)]
            assert len(calls) == 4 * self.encoded_images
            calls.clear()
            together = [started(model, requested, index, None) for index in range(4)]
            assert len(calls) == self.encoded_images
        for expected, found in zip(alone, together, strict=True):
            assert all(torch.equal(latents, other) for latents, other in zip(expected, found, strict=True))
        assert not torch.equal(together[0][0], together[1][0])


def batcher_with(model: LatentModel, *, max_rows: int) -> Batcher:
    """A batcher with a model that is loaded already."""
    cache = ModelCache(CPU, 10**9)
    cache.memory.add(model, fingerprint(model.spec.path))
    return Batcher(cache, max_rows=max_rows)


@contextmanager
def counted_encodings(model: LatentModel) -> Iterator[list[int]]:
    """The number of images in each call of the model's VAE."""
    calls: list[int] = []
    encode = model.vae.encode

    def counted(pixels: torch.Tensor) -> Any:
        calls.append(len(pixels))
        return encode(pixels)

    model.vae.encode = counted
    yield calls
    model.vae.encode = encode


def started(model: LatentModel, requested: InpaintRequest, index: int, codec: LatentCodec | None) -> list[torch.Tensor]:
    """The tensors of an image of a request before its first step."""
    text = tiny_models.encoded_request(model, requested)
    state, _ = model.start(requested, index, text, codec)
    tensors = (state.latents, state.image, state.masked_image, state.noise)
    return [tensor for tensor in tensors if tensor is not None]
