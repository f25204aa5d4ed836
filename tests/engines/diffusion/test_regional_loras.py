"""LoRAs of regions: equal to diffusers' network with other LoRAs for each prompt, and to the LoRAs of a request."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.adapter_uses import LoraUse, Region
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.regional_prompts import active_adapters
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion import flux_reference
from tests.engines.diffusion.pipelines import CPU, ddim_request, ignore_step, loaded_reference, run_reference
from tests.engines.diffusion.regional_reference import (
    denoised,
    mask_of,
    reference_result,
    two_regions,
    with_regions,
)
from tests.engines.diffusion.serving.batches import UNetCalls, wait_until
from tests.support import tiny_loras

EVERYWHERE = slice(None)
SLUGS = ("ink", "oil", "chalk")


@pytest.fixture(scope="module")
def batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9), max_rows=32)


@pytest.fixture(scope="module")
def loras(specs: dict[str, ModelSpec], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[LoraSpec]]:
    """Three LoRAs of each family, by family; the third, and those of FLUX.1, are for the network alone."""
    folder = tmp_path_factory.mktemp("loras")
    found: dict[str, list[LoraSpec]] = {}
    for family in ("sd", "sdxl", "flux-fill"):
        pipeline = load(specs[family], CPU).pipeline
        for seed, slug in enumerate(SLUGS):
            is_whole = seed < 2 and family != "flux-fill"
            parts = tuple(tiny_loras.LAYERS) if is_whole else ("unet", "transformer")
            tensors = tiny_loras.weights(pipeline, seed=seed, parts=parts)
            path = tiny_loras.saved(folder / f"{family}-{slug}.safetensors", tensors)
            lora = LoraSpec(slug=slug, label=slug, family=family, digest=f"{family}-{slug}", path=path)
            found.setdefault(family, []).append(lora)
    return found


def with_loras(requested: InpaintRequest, common: Sequence[LoraUse], *of_regions: Sequence[LoraUse]) -> InpaintRequest:
    """The request with these LoRAs, and with those of each of its regions."""
    regions = [
        replace(region, loras=tuple(uses)) for region, uses in zip(requested.settings.regions, of_regions, strict=True)
    ]
    return replace(requested, settings=replace(requested.settings, loras=tuple(common), regions=tuple(regions)))


def everywhere(requested: InpaintRequest, region: Region) -> InpaintRequest:
    return with_regions(requested, (region, mask_of(requested, EVERYWHERE, EVERYWHERE)))


def painted(
    batcher: Batcher, spec: ModelSpec, requested: InpaintRequest, loras: Sequence[LoraSpec]
) -> NDArray[np.uint8]:
    return batcher.paint(requested, spec, ignore_step, loras)[0][0]


class Switch:
    """Lets a pipeline of diffusers take the LoRAs of a prompt: those of the request, or of a region."""

    def __init__(self, pipeline: Any, requested: InpaintRequest, loras: Sequence[LoraSpec]) -> None:
        settings = requested.settings
        self.pipeline = pipeline
        self.uses = [settings.loras, *(region.active_loras(settings.loras) for region in settings.regions)]
        for lora in loras:
            assert lora.path is not None
            pipeline.load_lora_weights(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=lora.slug, local_files_only=True
            )

    def __call__(self, number: int) -> None:
        uses = self.uses[number]
        if uses:
            self.pipeline.enable_lora()
            self.pipeline.set_adapters([use.slug for use in uses], [use.weight for use in uses])
        else:
            self.pipeline.disable_lora()


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_the_loras_of_regions_equal_a_loop_over_the_prompts_in_the_reference_pipeline(
    specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]], family: str, guidance: float
) -> None:
    spec, plain = specs[family], two_regions(ddim_request(guidance_scale=guidance))
    requested = with_loras(plain, [LoraUse("ink", 0.5)], [LoraUse("oil", -0.8), LoraUse("ink", 0.2)], [])
    reference = loaded_reference(spec, requested)
    switch = Switch(reference, requested, loras[family])
    expected = reference_result(
        reference.unet, requested, lambda one: torch.as_tensor(run_reference(reference, spec, one)), switch
    )
    latents = denoised(load(spec, CPU), requested, loras[family])
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    for other in (with_loras(plain, [LoraUse("ink", 0.5)], [], []), plain):
        assert not torch.allclose(latents, denoised(load(spec, CPU), other, loras[family]), atol=1e-2)


def test_a_transformer_takes_them_too(specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]]) -> None:
    spec, used = specs["flux-fill"], loras["flux-fill"]
    plain = two_regions(flux_reference.request())
    requested = with_loras(plain, [], [LoraUse("oil")], [LoraUse("chalk", 0.7)])
    other = load(spec, CPU)
    switch = Switch(other.pipeline, requested, used)
    expected = reference_result(
        other.network, requested, lambda one: torch.as_tensor(flux_reference.diffusers_result(other, one)), switch
    )
    latents = denoised(load(spec, CPU), requested, used)
    flux_reference.assert_equal(latents, expected)
    assert not torch.allclose(latents, denoised(load(spec, CPU), plain, used), atol=5e-3)


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux-fill"])
def test_a_lora_of_a_region_over_everything_equals_that_of_the_request(
    batcher: Batcher, specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]], family: str
) -> None:
    plain = flux_reference.request() if family == "flux-fill" else ddim_request(guidance_scale=4.0)
    spec, settings, uses = specs[family], plain.settings, (LoraUse("ink", 0.7),)
    found = painted(batcher, spec, everywhere(plain, Region(settings.prompt, loras=uses)), loras[family])
    same = replace(plain, settings=replace(settings, loras=uses))
    assert np.array_equal(found, painted(batcher, spec, same, loras[family]))
    assert not np.array_equal(found, painted(batcher, spec, plain, loras[family]))
    halves = [mask_of(plain, EVERYWHERE, columns) for columns in (slice(0, 24), slice(24, None))]
    both = with_regions(plain, *((Region(settings.prompt, loras=uses), half) for half in halves))
    assert np.abs(found.astype(int) - painted(batcher, spec, both, loras[family])).max() <= 1


def test_a_lora_of_weight_0_or_of_a_region_without_effect_changes_nothing(
    batcher: Batcher, specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]]
) -> None:
    plain = two_regions(ddim_request(guidance_scale=4.0))
    without = painted(batcher, specs["sd"], plain, [])
    off = with_loras(plain, [], [LoraUse("ink", 0.0)], [LoraUse("oil", 0.0)])
    assert np.array_equal(painted(batcher, specs["sd"], off, loras["sd"]), without)
    assert active_adapters(off, loras["sd"], []).all_loras == ()
    nowhere = replace(plain.settings.regions[0], weight=0.0, loras=(LoraUse("ink"),))
    idle = replace(plain, settings=replace(plain.settings, regions=(nowhere, plain.settings.regions[1])))
    assert active_adapters(idle, loras["sd"], []).all_loras == (), "it need not be loaded"


def test_a_region_turns_a_lora_of_the_request_off(
    batcher: Batcher, specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]]
) -> None:
    plain = ddim_request(guidance_scale=4.0, loras=(LoraUse("ink"),))
    region = Region(plain.settings.prompt, loras=(LoraUse("ink", 0.0),))
    without = replace(plain, settings=replace(plain.settings, loras=()))
    found = painted(batcher, specs["sd"], everywhere(plain, region), loras["sd"])
    assert np.array_equal(found, painted(batcher, specs["sd"], without, []))


def test_images_with_other_loras_in_regions_paint_beside_each_other_as_alone(
    specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]]
) -> None:
    spec, together = specs["sd"], Batcher(ModelCache(CPU, 10**9), max_rows=32)
    plain = two_regions(ddim_request(seed=1, guidance_scale=4.0))
    jobs = [
        with_loras(plain, [], [LoraUse("ink")], []),
        with_loras(plain, [LoraUse("ink")], [LoraUse("oil")], [LoraUse("chalk")]),
        with_loras(two_regions(ddim_request(seed=2, num_images=2)), [], [LoraUse("ink")], []),
    ]
    calls = UNetCalls(together, spec, held=True)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(together.paint, jobs[0], spec, ignore_step, loras["sd"])
        assert calls.begun.wait(30)
        rest = [pool.submit(together.paint, job, spec, ignore_step, loras["sd"]) for job in jobs[1:]]
        wait_until(lambda: together.arrival_count == len(rest))
        calls.go.set()
        found = [future.result(60)[0] for future in (first, *rest)]
    assert calls.rows[:2] == [3, 2], "two prompts without the LoRA share an unprompted row, that with it has its own"
    alone = Batcher(ModelCache(CPU, 10**9), max_rows=1)
    for images, job in zip(found, jobs, strict=True):
        for image, expected in zip(images, alone.paint(job, spec, ignore_step, loras["sd"])[0], strict=True):
            assert np.abs(image.astype(int) - expected).max() <= 1


def test_only_torch_computes_them(specs: dict[str, ModelSpec], loras: dict[str, list[LoraSpec]]) -> None:
    requested = with_loras(two_regions(ddim_request()), [], [LoraUse("ink")], [])
    assert Job(requested, specs["sd"], active_adapters(requested, loras["sd"], [])).needs_torch
    plain = with_loras(requested, [LoraUse("ink")], [], [])
    assert not Job(plain, specs["sd"], active_adapters(plain, loras["sd"], [])).needs_torch
