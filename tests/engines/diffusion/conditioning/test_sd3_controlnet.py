"""ControlNets of Stable Diffusion 3: results equal diffusers' pipelines, and a hole is filled by what is around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image, ImageOps

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.conditioning.adapter_requests import (
    batcher,
    close,
    control_image,
    denoised_latents,
    differ,
    painted,
)
from tests.engines.diffusion.pipelines import CPU
from tests.support import tiny_adapters, tiny_models

PLAIN: dict[str, Any] = {"guidance_scale": 1.0}
GUIDED: dict[str, Any] = {"guidance_scale": 4.0, "negative_prompt": "blurred, and more words than in the prompt"}
LAYERS = 5


class Edges(VaeImageProcessor):  # type: ignore[misc]  # diffusers ships no types
    """As on the model card of Stability AI's ControlNet for edges."""

    def __init__(self) -> None:
        super().__init__(do_normalize=False)

    def preprocess(self, image: Any, **named: Any) -> Any:
        return super().preprocess(image, **named) * 255 * 0.5 + 0.5


def request(**settings: Any) -> InpaintRequest:
    """A request with a control image, that of a depth map for example."""
    requested = plain_flow.request(**settings)
    sent = CanonicalImage(np.ascontiguousarray(np.asarray(requested.image.pixels)[::-1]))
    return replace(requested, conditioning_images={"control_image": sent})


def whole(requested: InpaintRequest) -> InpaintRequest:
    """The request with a mask of all, as the pipelines without a mask have none."""
    return replace(requested, mask=np.full_like(requested.mask, 255))


@pytest.fixture(scope="module")
def spec(folder: Path) -> ModelSpec:
    """A model of one block more than its ControlNets, as Stable Diffusion 3 has for alimama's."""
    saved = tiny_models.saved(folder / "sd3", "sd3")
    config = diffusers.SD3Transformer2DModel.load_config(folder / "sd3" / "transformer")
    torch.manual_seed(5)
    network = diffusers.SD3Transformer2DModel.from_config({**config, "num_layers": LAYERS})
    network.save_pretrained(folder / "sd3" / "transformer")
    return saved


@pytest.fixture(scope="module")
def inpainter(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_controlnet(folder / "hole", "sd3", ControlImageKind.INPAINT, num_layers=LAYERS - 1)


@pytest.fixture(scope="module")
def controlnets(folder: Path) -> dict[tuple[str, bool], ModelSpec]:
    """Kind of control image, and whether it reads text, as those for Stable Diffusion 3 do -> a ControlNet."""
    return {
        (kind, reads_text): tiny_adapters.saved_controlnet(
            folder / f"{kind}-{reads_text}".lower(),
            "sd3",
            ControlImageKind(kind),
            seed=1,
            inpaints=False,
            reads_text=reads_text,
        )
        for kind in ("canny", "depth", "tile")
        for reads_text in (True, False)
    }


def reference_result(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, requested: InpaintRequest, part: ModelSpec
) -> torch.Tensor:
    """The latents of diffusers' pipeline, from the same noise.

    It draws the latents of the control image without the seed; here they are the mode, as ours.
    """
    settings = requested.settings
    network = diffusers.SD3ControlNetModel.from_pretrained(part.path)
    pipeline: type[Any] = diffusers.StableDiffusion3ControlNetPipeline
    sent = control_image(part, requested)
    more: dict[str, Any] = {"control_image": sent}
    if part.control is ControlImageKind.INPAINT:
        pipeline = diffusers.StableDiffusion3ControlNetInpaintingPipeline
        source = Image.fromarray(np.asarray(requested.image.pixels))
        more = {"control_image": source, "control_mask": Image.fromarray(requested.mask)}
    elif part.control is ControlImageKind.DEPTH and not network.config.use_pos_embed:
        more = {"control_image": ImageOps.invert(sent)}  # made for depth maps in which what is near is dark
    reference = pipeline.from_pretrained(spec.path, controlnet=network)
    reference.set_progress_bar_config(disable=True)
    if part.control is ControlImageKind.CANNY and not network.config.use_pos_embed:
        reference.image_processor = Edges()
    size, generator = requested.image.size, torch.Generator().manual_seed(settings.seed)
    shape = (1, 16, size.height // 8, size.width // 8)
    torch.randn(shape, generator=generator)  # as if the source had been encoded
    with monkeypatch.context() as patched:
        patched.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
        latents: torch.Tensor = reference(
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            guidance_scale=settings.guidance_scale,
            height=size.height,
            width=size.width,
            num_inference_steps=settings.steps,
            controlnet_conditioning_scale=1.0 if settings.control_strength is None else settings.control_strength,
            control_guidance_start=settings.control_start or 0.0,
            control_guidance_end=1.0 if settings.control_end is None else settings.control_end,
            latents=torch.randn(shape, generator=generator),
            output_type="latent",
            **more,
        ).images
    return latents


@pytest.mark.parametrize("changes", [PLAIN, {**GUIDED, "control_strength": 0.6}], ids=["plain", "guided"])
def test_an_inpainting_one_equals_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, inpainter: ModelSpec, changes: dict[str, Any]
) -> None:
    requested = request(control=inpainter.slug, **changes)
    (latents,) = denoised_latents(spec, [requested], [inpainter])
    close(latents, reference_result(monkeypatch, spec, requested, inpainter))
    assert differ(latents, denoised_latents(spec, [request(**changes)])[0])


@pytest.mark.parametrize("reads_text", [True, False], ids=["sd3", "sd35-large"])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("canny", PLAIN),
        ("depth", {**GUIDED, "control_start": 0.2, "control_end": 0.6}),
        ("tile", {**GUIDED, "control_strength": 0.7}),
    ],
)
def test_one_for_a_kind_of_image_equals_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch,
    spec: ModelSpec,
    controlnets: dict[tuple[str, bool], ModelSpec],
    kind: str,
    changes: dict[str, Any],
    reads_text: bool,
) -> None:
    part = controlnets[kind, reads_text]
    requested = whole(request(control=part.slug, **changes))
    (latents,) = denoised_latents(spec, [requested], [part])
    close(latents, reference_result(monkeypatch, spec, requested, part))
    assert not torch.allclose(latents, denoised_latents(spec, [whole(request(**changes))])[0], atol=2e-3)


def test_what_fills_the_hole_depends_on_what_is_around_it(spec: ModelSpec, inpainter: ModelSpec) -> None:
    requested = request(control=inpainter.slug, **PLAIN)
    inverted = CanonicalImage(255 - np.asarray(requested.image.pixels, np.uint8))
    hole = np.array(requested.image.pixels, np.uint8)
    hole[requested.mask > 0] = 0
    latents, other, same = denoised_latents(
        spec,
        [requested, replace(requested, image=inverted), replace(requested, image=CanonicalImage(hole))],
        [inpainter],
    )
    assert differ(latents, other)
    close(latents, same)


def test_requests_share_calls_with_the_results_they_have_alone(
    spec: ModelSpec, inpainter: ModelSpec, controlnets: dict[tuple[str, bool], ModelSpec]
) -> None:
    depth, canny = controlnets["depth", False], controlnets["canny", True]
    uses = (ControlUse(inpainter.slug, 0.5), ControlUse(depth.slug, 0.7, 0.2, 0.8), ControlUse(canny.slug, 0.4))
    changes: list[dict[str, Any]] = [
        {"controls": uses, **GUIDED},
        {"controls": uses[::-1], "prompt": "a red bus " * 20, **PLAIN},
        {"controls": (uses[0], replace(uses[1], strength=0.0), uses[2]), **GUIDED},
    ]
    parts = [inpainter, depth, canny]
    requested = [request(seed=seed, **changed) for seed, changed in enumerate(changes)]
    together = denoised_latents(spec, requested, parts)
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], parts)[0])
    without = request(seed=0, controls=uses[:1], **GUIDED)
    assert not torch.allclose(together[0], denoised_latents(spec, [without], parts)[0], atol=2e-3)


def test_when_memory_is_short_rows_are_computed_one_after_another(spec: ModelSpec, inpainter: ModelSpec) -> None:
    loop, requested = Batcher(ModelCache(CPU, 10**9)), request(control=inpainter.slug, **GUIDED)
    model = loop.cache.get(spec)
    assert model.reduce_memory(Size(64, 64))  # tiles
    before = painted(loop, requested, spec, [inpainter])
    assert model.reduce_memory(Size(64, 64))
    calls: list[int] = []
    network = loop.cache.adapter(inpainter)
    network.register_forward_pre_hook(
        lambda module, given, named: calls.append(len(named["hidden_states"])), with_kwargs=True
    )
    after = painted(loop, requested, spec, [inpainter])
    assert np.abs(after.astype(int) - before).max() <= 1
    assert set(calls) == {1}


def test_it_is_applied_to_a_model_whose_layers_wait_in_the_memory_of_the_machine(
    spec: ModelSpec, controlnets: dict[tuple[str, bool], ModelSpec]
) -> None:
    part, loop = controlnets["depth", False], batcher()
    requested = request(control=part.slug, **PLAIN)
    transformer = loop.cache.get(spec).pipeline.transformer
    accelerate.cpu_offload(transformer, execution_device=torch.device("cpu"))
    assert transformer.pos_embed.proj.weight.is_meta
    close(denoised_latents(spec, [requested], [part], by=loop)[0], denoised_latents(spec, [requested], [part])[0])


def test_another_shape_or_kind_is_refused(spec: ModelSpec, inpainter: ModelSpec, folder: Path) -> None:
    wrong = tiny_adapters.saved_controlnet(folder / "wrong", "sd3", ControlImageKind.INPAINT, joint_attention_dim=48)
    depth = tiny_adapters.saved_controlnet(folder / "plain", "sd3", ControlImageKind.DEPTH, inpaints=False)
    refused: list[tuple[ModelSpec, dict[str, Any], str]] = [
        (wrong, {}, "does not fit"),
        (replace(inpainter, control=ControlImageKind.CANNY), {}, "not on canny"),
        (replace(depth, control=ControlImageKind.INPAINT), {}, "not trained on inpaint"),
        (replace(depth, control=ControlImageKind.UNION), {"control_type": "depth"}, "not trained on depth"),
    ]
    for part, changes, message in refused:
        with pytest.raises(EngineFailed, match=message) as failed:
            painted(batcher(), request(control=part.slug, **changes), spec, [part])
        assert failed.value.code == "adapter_unfit"
