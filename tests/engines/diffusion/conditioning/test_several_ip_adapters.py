"""Several IP-Adapters of one request are applied together, as diffusers' pipelines load a list of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.adapter_uses import IP_ADAPTERS
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, IPAdapterUse
from inpainting.engines.diffusion.conditioning import ip_adapter
from inpainting.engines.diffusion.serving.loading.model_loading import load
from tests.engines.diffusion.conditioning.adapter_requests import (
    PROMPT,
    batcher,
    close,
    denoised_latents,
    differ,
    request,
)
from tests.engines.diffusion.pipelines import CPU, FAMILIES, loaded_reference, run_reference
from tests.support import tiny_adapters, tiny_models
from tests.support.matrix import first_alone

IMAGES = [
    PROMPT,
    CanonicalImage(np.ascontiguousarray(data.coffee()[::4, ::4])),
    CanonicalImage(np.ascontiguousarray(data.astronaut()[::5, ::4])),
]
PLAIN, PLUS, STRONG = IPAdapterUse("plain", 0.6), IPAdapterUse("plus", 0.8), IPAdapterUse("plain", 1.0)


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, ModelSpec]:
    return {family: tiny_models.saved(folder / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def adapters(folder: Path, models: dict[str, ModelSpec]) -> dict[str, dict[str, ModelSpec]]:
    """Family -> a plain and a plus adapter by their slugs; with equal image encoders, as a pipeline has one."""
    found: dict[str, dict[str, ModelSpec]] = {}
    for family in FAMILIES:
        unet = load(models[family], CPU).unet
        for seed, slug in enumerate(("plain", "plus")):
            tensors = tiny_adapters.adapter(unet, kind=slug, seed=seed)
            spec = tiny_adapters.saved_adapter(folder / f"{family}-{slug}", family, tensors)
            found.setdefault(family, {})[slug] = replace(spec, slug=slug)
    return found


def asked(*uses: IPAdapterUse, **settings: Any) -> InpaintRequest:
    """A request with these IP-Adapters and an image for each."""
    images = dict(zip(IP_ADAPTERS.images, IMAGES[: len(uses)], strict=False))
    return replace(request(ip_adapters=uses, **settings), conditioning_images=images)


def named(specs: dict[str, ModelSpec], *uses: IPAdapterUse) -> list[ModelSpec]:
    return list({use.slug: specs[use.slug] for use in uses}.values())


def reference(spec: ModelSpec, requested: InpaintRequest, specs: dict[str, ModelSpec]) -> torch.Tensor:
    """The result of diffusers' pipeline with a list of IP-Adapters."""
    uses = requested.settings.ip_adapters
    pipeline = loaded_reference(spec, requested)
    folders = [str(specs[use.slug].path) for use in uses]
    pipeline.load_ip_adapter(
        folders,
        subfolder=["models"] * len(uses),
        weight_name=[f"{Path(place).name}.safetensors" for place in folders],
        image_encoder_folder=str(Path(folders[0]) / "models" / "image_encoder"),
        local_files_only=True,
    )
    pipeline.set_ip_adapter_scale([use.scale for use in uses])
    images = [Image.fromarray(np.asarray(image.pixels)) for image in IMAGES[: len(uses)]]
    latents: torch.Tensor = run_reference(pipeline, spec, requested, ip_adapter_image=images)
    return latents


@pytest.mark.parametrize(
    ("family", "uses", "settings"),
    [
        ("sd", (PLAIN, PLUS), {}),
        ("sd", (PLUS, PLAIN, STRONG), {"guidance_scale": 1.0}),
        ("sdxl", (PLUS, PLAIN), {}),
        ("sdxl", (PLAIN, STRONG), {}),
    ],
    ids=["sd-two", "sd-three-unguided", "sdxl-two", "sdxl-one-twice"],
)
def test_several_ip_adapters_equal_the_reference_pipeline(
    models: dict[str, ModelSpec],
    adapters: dict[str, dict[str, ModelSpec]],
    family: str,
    uses: tuple[IPAdapterUse, ...],
    settings: dict[str, Any],
) -> None:
    spec, specs, requested = models[family], adapters[family], asked(*uses, **settings)
    (latents,) = denoised_latents(spec, [requested], named(specs, *uses))
    close(latents, reference(spec, requested, specs))
    (first,) = denoised_latents(spec, [asked(uses[0], **settings)], named(specs, uses[0]))
    assert differ(latents, first)


def test_one_listed_adapter_equals_that_of_the_single_settings(
    models: dict[str, ModelSpec], adapters: dict[str, dict[str, ModelSpec]]
) -> None:
    spec, specs = models["sd"], adapters["sd"]
    (listed,) = denoised_latents(spec, [asked(PLAIN)], [specs["plain"]])
    single = request(ip_adapter="plain", ip_adapter_scale=0.6)
    assert torch.equal(listed, denoised_latents(spec, [single], [specs["plain"]])[0])


def test_one_of_scale_0_equals_leaving_it_out(
    models: dict[str, ModelSpec], adapters: dict[str, dict[str, ModelSpec]]
) -> None:
    spec, specs = models["sd"], adapters["sd"]
    uses = PLAIN, replace(PLUS, scale=0.0)
    (with_it,) = denoised_latents(spec, [asked(*uses)], named(specs, *uses))
    assert torch.equal(with_it, denoised_latents(spec, [asked(PLAIN)], [specs["plain"]])[0])


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
def test_in_one_batch_each_has_its_own_scales_and_the_model_is_unchanged_afterwards(
    models: dict[str, ModelSpec], adapters: dict[str, dict[str, ModelSpec]], family: str
) -> None:
    """The third has one adapter less in effect, so it is predicted apart from the others."""
    spec, specs, loop = models[family], adapters[family], batcher()
    before = denoised_latents(spec, [request()], by=loop)[0]
    unet = loop.cache.get(spec).unet
    processors = dict(unet.attn_processors)
    both = named(specs, PLAIN, PLUS)
    requested = [
        asked(PLAIN, PLUS, seed=1),
        asked(replace(PLAIN, scale=0.2), PLUS, seed=1, steps=6),
        asked(PLAIN, replace(PLUS, scale=0.0), seed=1),
        asked(PLAIN, PLUS, seed=4, guidance_scale=1.0),
    ]
    calls: list[int] = []
    unet.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    together = denoised_latents(spec, requested, both, by=loop)
    assert calls[:2] == [5, 2]
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], both)[0])
    assert differ(together[0], together[2])
    assert unet.attn_processors == processors
    assert torch.equal(denoised_latents(spec, [request()], by=loop)[0], before)


def test_together_they_take_no_memory_beside_their_own(
    models: dict[str, ModelSpec], adapters: dict[str, dict[str, ModelSpec]]
) -> None:
    spec, specs, loop = models["sd"], adapters["sd"], batcher()
    loaded = {slug: loop.cache.adapter(part) for slug, part in specs.items()}
    prompts = ip_adapter.encode_prompts(loaded, asked(PLAIN, PLUS), loop.cache.get(spec).unet, 2)
    assert prompts is not None
    own = {weight.data_ptr() for adapter in loaded.values() for weight in adapter.layers.values()}
    joined = {weight.data_ptr() for _, processor in prompts.layers for weight in processor.parameters()}
    assert joined <= own
    assert len(joined) > 1
