"""Regional prompts: their weights, the calls of the network that they take, and what shares a step batch with them.

That the steps equal a loop over the prompts in diffusers' pipelines is part of `FamilyContract`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.adapter_uses import Region
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.regional_prompts import tokenize, weights_of
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion import flux_reference
from tests.engines.diffusion.conditioning import adapter_requests
from tests.engines.diffusion.pipelines import CPU, STEPS, ddim_request, ignore_step
from tests.engines.diffusion.regional_reference import denoised, mask_of, two_regions, with_regions
from tests.engines.diffusion.serving.batches import UNetCalls, wait_until
from tests.support import tiny_adapters, tiny_models

EVERYWHERE, NOWHERE = slice(None), slice(0, 0)
MANY_WORDS = "a blue boat " * 40
"""More than one chunk of a text encoder takes."""


@pytest.fixture(scope="module")
def batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9), max_rows=32)


def painted(batcher: Batcher, spec: ModelSpec, requested: InpaintRequest) -> NDArray[np.uint8]:
    return batcher.paint(requested, spec, ignore_step)[0][0]


@contextmanager
def counted_rows(model: LatentModel) -> Iterator[list[int]]:
    """The number of rows in each call of the model's network."""
    calls: list[int] = []

    def count(module: torch.nn.Module, given: Any, named: dict[str, Any]) -> None:
        calls.append(len(given[0] if given else named["hidden_states"]))

    hook = model.network.register_forward_pre_hook(count, with_kwargs=True)
    yield calls
    hook.remove()


def everywhere(requested: InpaintRequest, *regions: Region) -> InpaintRequest:
    return with_regions(requested, *((region, mask_of(requested, EVERYWHERE, EVERYWHERE)) for region in regions))


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux-dev", "qwen-image"])
def test_one_region_over_the_whole_image_equals_a_request_with_its_prompt(
    batcher: Batcher, specs: dict[str, ModelSpec], family: str
) -> None:
    asked = flux_reference.request() if family in ("flux-dev", "qwen-image") else ddim_request()
    other = replace(asked, settings=replace(asked.settings, prompt=MANY_WORDS))
    found = painted(batcher, specs[family], everywhere(other, Region("a cat")))
    same = replace(asked, settings=replace(asked.settings, prompt="a cat"))
    assert np.array_equal(found, painted(batcher, specs[family], same))
    assert not np.array_equal(found, painted(batcher, specs[family], other))


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux-dev", "qwen-image"])
def test_a_region_of_weight_0_or_without_a_mark_changes_nothing(
    batcher: Batcher, specs: dict[str, ModelSpec], family: str
) -> None:
    asked = flux_reference.request() if family in ("flux-dev", "qwen-image") else ddim_request()
    alone = painted(batcher, specs[family], asked)
    nowhere = with_regions(asked, (Region(MANY_WORDS), mask_of(asked, NOWHERE, NOWHERE)))
    for same in (everywhere(asked, Region(MANY_WORDS, 0.0)), nowhere):
        assert np.array_equal(painted(batcher, specs[family], same), alone)


def test_the_weights_of_a_pixel_add_up_to_1() -> None:
    asked = ddim_request()
    requested = with_regions(
        asked,
        (Region("a"), mask_of(asked, EVERYWHERE, slice(0, 20))),
        (Region("b", 0.5), mask_of(asked, EVERYWHERE, slice(16, 40))),
    )
    common, first, second = weights_of(requested)[:, 3, :]
    assert first.tolist() == pytest.approx([1, 1, 0.5 / 0.75 / 4 * 3, 0, 0, 0, 0, 0])
    assert second.tolist() == pytest.approx([0, 0, 0.5 / 1 * 1, 0.5, 0.5, 0, 0, 0])
    assert common.tolist() == pytest.approx([0, 0, 0, 0.5, 0.5, 1, 1, 1])


def test_images_with_and_without_regions_share_the_calls_with_the_results_they_have_alone(
    specs: dict[str, ModelSpec],
) -> None:
    spec, together = specs["sd"], Batcher(ModelCache(CPU, 10**9), max_rows=32)
    jobs = [two_regions(ddim_request(seed=1)), ddim_request(seed=2), two_regions(ddim_request(seed=3, num_images=2))]
    calls = UNetCalls(together, spec, held=True)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(together.paint, jobs[0], spec, ignore_step)
        assert calls.begun.wait(30)
        rest = [pool.submit(together.paint, job, spec, ignore_step) for job in jobs[1:]]
        wait_until(lambda: together.arrival_count == len(rest))
        calls.go.set()
        found = [future.result(60)[0] for future in (first, *rest)]
    alone = Batcher(ModelCache(CPU, 10**9), max_rows=1)
    assert calls.rows[:2] == [4, 4 + 2 + 4 + 4], "one row without a prompt, and one for each of three prompts"
    for images, job in zip(found, jobs, strict=True):
        for image, expected in zip(images, alone.paint(job, spec, ignore_step)[0], strict=True):
            assert np.abs(image.astype(int) - expected).max() <= 1


def test_the_rows_of_regions_count_when_an_image_joins_a_step_batch(specs: dict[str, ModelSpec]) -> None:
    spec, few = specs["sd"], Batcher(ModelCache(CPU, 10**9), max_rows=7)
    calls = UNetCalls(few, spec)
    few.paint(two_regions(ddim_request(num_images=2)), spec, ignore_step)
    assert calls.rows == [4] * 2 * STEPS


def test_without_guidance_in_a_step_each_prompt_takes_one_row(specs: dict[str, ModelSpec]) -> None:
    spec, batcher = specs["sd"], Batcher(ModelCache(CPU, 10**9), max_rows=32)
    calls = UNetCalls(batcher, spec)
    batcher.paint(two_regions(ddim_request(guidance_end=0.4)), spec, ignore_step)
    assert calls.rows == [4, 4, 3, 3, 3]


def test_prompts_of_different_lengths_are_padded_to_the_longest(batcher: Batcher, specs: dict[str, ModelSpec]) -> None:
    asked = ddim_request()
    half = mask_of(asked, EVERYWHERE, slice(0, 24))
    few, many = (with_regions(asked, (Region(words), half)) for words in (MANY_WORDS[:20], MANY_WORDS))
    assert not np.array_equal(painted(batcher, specs["sd"], few), painted(batcher, specs["sd"], many))
    prompts = tokenize(batcher.cache.get(specs["sd"]), many)
    assert [one.chunk_count for one in prompts.prompts] == [1, prompts.chunk_count]
    text, regions = prompts.encode(batcher.cache.get(specs["sd"]), None)
    assert regions is not None
    assert text.embeds.shape[1:] == regions.texts[0].embeds.shape[1:]


def test_when_memory_is_short_or_rows_cannot_be_split_each_prompt_has_a_call(specs: dict[str, ModelSpec]) -> None:
    for family, asked in (("sd", ddim_request()), ("flux-dev", flux_reference.request())):
        model, requested = load(specs[family], CPU), two_regions(asked)
        before = denoised(model, requested)
        assert model.reduce_memory(Size(64, 64))
        assert model.reduce_memory(Size(64, 64)) == (family == "sd")
        with counted_rows(model) as calls:
            torch.testing.assert_close(denoised(model, requested), before, rtol=1e-4, atol=1e-4)
        assert calls == [1] * (4 if family == "sd" else 3) * STEPS


def test_blocks_are_not_skipped_beside_regions(specs: dict[str, ModelSpec]) -> None:
    spec, asked = specs["flux-fill"], flux_reference.request(cache="fast")
    assert Job(asked, spec).cache_level == "fast"
    assert Job(two_regions(asked), spec).cache_level is None


def test_an_embedding_in_the_prompt_of_a_region_is_used(batcher: Batcher, specs: dict[str, ModelSpec]) -> None:
    model = batcher.cache.get(specs["sd"])
    asked = ddim_request(prompt="a bus", embeddings=("ink", "cat"))
    half = mask_of(asked, EVERYWHERE, slice(0, 24))
    vectors = [{slug: torch.zeros(1, model.unet.config.cross_attention_dim) for slug in ("ink", "cat")}]
    notes = tokenize(model, with_regions(asked, (Region("an <ink> drawing"), half)), vectors).notes
    assert notes == ["The embedding cat is not used: “<cat>” is in no prompt that the model reads."]


@pytest.mark.full
def test_controls_and_image_prompts_are_those_of_every_prompt(specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    spec = specs["plain"]
    control = tiny_adapters.saved_controlnet(tmp_path / "map", "sd", ControlImageKind.DEPTH)
    look = tiny_adapters.saved_adapter(tmp_path / "look", "sd", tiny_adapters.adapter(tiny_models.sd(tmp_path).unet))
    asked = adapter_requests.request(control="map")
    boat = replace(asked, settings=replace(asked.settings, prompt="a boat"))
    halves = [mask_of(asked, EVERYWHERE, columns) for columns in (slice(0, 24), slice(20, 64))]
    same = with_regions(asked, *((Region("a boat"), half) for half in halves))
    expected, found, other = (
        adapter_requests.denoised_latents(spec, [one], [control, look])[0] for one in (boat, same, asked)
    )
    adapter_requests.close(found, expected)
    assert not torch.allclose(found, other, atol=1e-3)
