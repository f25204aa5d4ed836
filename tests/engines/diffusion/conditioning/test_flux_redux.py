"""FLUX.1 Redux: results equal those of diffusers' two pipelines, and each sample has its own images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from diffusers import FluxPriorReduxPipeline
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image
from safetensors.torch import load_file

from inpainting import families
from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest, IPAdapterUse
from inpainting.engines.diffusion.engine import has_effect
from inpainting.engines.diffusion.serving.loading.model_loading import load
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.conditioning.adapter_requests import (
    PROMPT,
    SENT,
    batcher,
    close,
    denoised_latents,
    differ,
    painted,
)
from tests.engines.diffusion.conditioning.flux_controlnets import reference
from tests.engines.diffusion.flux_reference import FluxDevContract, FluxFillContract
from tests.engines.diffusion.pipelines import CPU
from tests.support import tiny_adapters, tiny_models

CONTRACTS = {"flux-dev": FluxDevContract, "flux-fill": FluxFillContract}
REDUX = "redux"


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, ModelSpec]:
    return {family: tiny_models.saved(folder / family, family) for family in CONTRACTS}


@pytest.fixture(scope="module")
def redux(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_redux(folder / REDUX)


def request(*scales: float, **settings: Any) -> InpaintRequest:
    """A request with an image for each scale."""
    requested = plain_flow.request(
        ip_adapters=tuple(IPAdapterUse(REDUX, scale) for scale in scales), guidance_scale=3.5, **settings
    )
    images = {"ip_adapter_image": PROMPT, "ip_adapter_image_2": SENT}
    return replace(requested, conditioning_images=images)


def embeddings(model: Any, redux: ModelSpec, requested: InpaintRequest) -> dict[str, torch.Tensor]:
    """What diffusers' first pipeline makes of the images and the prompt, as the second one takes it."""
    assert redux.path is not None
    embedder = ReduxImageEncoder(tiny_adapters.HIDDEN_SIZE, tiny_models.FEATURES).eval()
    embedder.load_state_dict(load_file(redux.path / f"{REDUX}.safetensors"))
    prior = FluxPriorReduxPipeline(
        image_encoder=transformers.SiglipVisionModel.from_pretrained(redux.path / "image_encoder").eval(),
        feature_extractor=transformers.SiglipImageProcessor(size={"height": 32, "width": 32}),
        image_embedder=embedder,
        **{
            name: model.pipeline.components[name]
            for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
        },
    )
    scales = [use.scale for use in requested.settings.ip_adapter_uses]
    images = [Image.fromarray(to_rgb8(image)) for image in requested.conditioning_images.values()][: len(scales)]
    made = prior(
        images,
        prompt=[requested.settings.prompt] * len(images),
        prompt_embeds_scale=scales,
        pooled_prompt_embeds_scale=scales,
    )
    return {"prompt_embeds": made.prompt_embeds, "pooled_prompt_embeds": made.pooled_prompt_embeds}


@pytest.mark.parametrize("family", CONTRACTS)
@pytest.mark.parametrize(
    ("scales", "changes"),
    [((1.0,), {}), ((0.4,), {"strength": 0.7}), pytest.param((0.9, 0.3), {"prompt": ""}, marks=pytest.mark.full)],
)
def test_it_equals_the_reference_pipelines(
    models: dict[str, ModelSpec], redux: ModelSpec, family: str, scales: tuple[float, ...], changes: dict[str, Any]
) -> None:
    spec, requested = models[family], request(*scales, **changes)
    model = load(spec, CPU)
    (latents,) = denoised_latents(spec, [requested], [redux])
    made = embeddings(model, redux, requested)
    close(latents, CONTRACTS[family]().reference_result(model, requested, prompt=None, **made))
    assert differ(latents, denoised_latents(spec, [request(**changes)])[0])


def test_jobs_share_steps_with_the_results_they_have_alone(models: dict[str, ModelSpec], redux: ModelSpec) -> None:
    spec = models["flux-dev"]
    requested = [
        request(1.0),
        request(0.5, 0.5, prompt="a red bus " * 20, seed=3, steps=6),
        replace(request(0.7), conditioning_images={"ip_adapter_image": SENT}),
    ]
    together = denoised_latents(spec, requested, [redux])
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], [redux])[0])
    assert differ(together[0], together[2])


def test_a_controlnet_sees_the_tokens_too(
    monkeypatch: pytest.MonkeyPatch, models: dict[str, ModelSpec], redux: ModelSpec, folder: Path
) -> None:
    spec = models["flux-dev"]
    control = tiny_adapters.saved_controlnet(folder / "depth", "flux-dev", ControlImageKind.DEPTH, inpaints=False)
    requested = request(1.0, control=control.slug)
    images = {**requested.conditioning_images, "control_image": requested.image}
    requested = replace(requested, conditioning_images=images)
    (latents,) = denoised_latents(spec, [requested], [control, redux])
    made = embeddings(load(spec, CPU), redux, requested)
    close(latents, reference(monkeypatch, spec, requested, control, None, prompt=None, **made))
    for parts in ([control], [redux]):
        assert not torch.allclose(latents, denoised_latents(spec, [requested], parts)[0], atol=2e-3)


def test_without_a_scale_it_is_not_read_and_nothing_is_left_of_it(
    models: dict[str, ModelSpec], redux: ModelSpec
) -> None:
    spec, loop = models["flux-fill"], batcher()
    before = painted(loop, request(), spec)
    assert (painted(loop, request(1.0), spec, [redux]) != before).any()
    assert (painted(loop, request(), spec) == before).all()
    assert not has_effect(redux, request(0.0).settings)
    assert torch.equal(
        denoised_latents(spec, [request(0.0)], [redux])[0], denoised_latents(spec, [request()], by=loop)[0]
    )


def test_models_of_both_families_share_it_and_others_take_none(
    models: dict[str, ModelSpec], redux: ModelSpec, folder: Path
) -> None:
    owners = {family.name: families.image_prompt_family(family.name) for family in families.registered_families()}
    assert {name for name, owner in owners.items() if owner == "flux-dev"} == {"flux-dev", "flux-fill"}
    kontext = tiny_models.saved(folder / "flux-kontext", "flux-kontext")
    with pytest.raises(EngineFailed, match="takes no IP-Adapter") as failed:
        painted(batcher(), request(1.0), kontext, [redux])
    assert failed.value.code == "adapter_unfit"


def test_another_shape_is_refused(models: dict[str, ModelSpec], redux: ModelSpec, folder: Path) -> None:
    spec = models["flux-dev"]
    refused = {
        "does not fit this model": ({"features": 48}, "adapter_unfit"),
        "its image encoder gives 32 features, and its layers take 24": ({"width": 24}, "adapter_refused"),
    }
    for number, (message, (shape, code)) in enumerate(refused.items()):
        part = replace(tiny_adapters.saved_redux(folder / f"wrong-{number}", **shape), slug=REDUX)
        with pytest.raises(EngineFailed, match=message) as failed:
            painted(batcher(), request(1.0), spec, [part])
        assert failed.value.code == code
    small = tiny_adapters.saved_redux(folder / "small", side=16)
    uses = (IPAdapterUse(REDUX, 1.0), IPAdapterUse("small", 1.0))
    requested = request(0.0)
    requested = replace(requested, settings=replace(requested.settings, ip_adapters=uses))
    with pytest.raises(EngineFailed, match="other numbers of tokens") as failed:
        painted(batcher(), requested, spec, [redux, small])
    assert failed.value.code == "adapter_unfit"
