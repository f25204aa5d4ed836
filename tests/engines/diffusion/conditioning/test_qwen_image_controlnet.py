"""ControlNets of Qwen-Image: results equal diffusers' pipelines, and a hole is filled by what is around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.engines.diffusion.flow_model import pack
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.conditioning.adapter_requests import (
    batcher,
    close,
    control_image,
    denoised_latents,
    differ,
    painted,
)
from tests.support import tiny_adapters, tiny_models

PLAIN: dict[str, Any] = {"guidance_scale": 1.0}
GUIDED: dict[str, Any] = {"guidance_scale": 4.0, "negative_prompt": "blurred, and more words than in the prompt"}


def request(**settings: Any) -> InpaintRequest:
    """A request with a control image, that of a depth map for example."""
    requested = plain_flow.request(**settings)
    sent = CanonicalImage(np.ascontiguousarray(np.asarray(requested.image.pixels)[::-1]))
    return replace(requested, conditioning_images={"control_image": sent})


@pytest.fixture(scope="module")
def spec(folder: Path) -> ModelSpec:
    return tiny_models.saved(folder / "qwen-image", "qwen-image")


@pytest.fixture(scope="module")
def inpainter(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_controlnet(folder / "hole", "qwen-image", ControlImageKind.INPAINT)


@pytest.fixture(scope="module")
def union(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_controlnet(
        folder / "union", "qwen-image", ControlImageKind.UNION, seed=1, inpaints=False, num_layers=2
    )


def reference_result(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, requested: InpaintRequest, part: ModelSpec
) -> torch.Tensor:
    """The latents of diffusers' pipeline, from the same noise.

    It draws the latents of the control image without the seed; here they are the mode, as ours.
    """
    settings, source = requested.settings, Image.fromarray(np.asarray(requested.image.pixels))
    network = diffusers.QwenImageControlNetModel.from_pretrained(part.path)
    pipeline: type[Any] = diffusers.QwenImageControlNetPipeline
    more: dict[str, Any] = {"control_image": control_image(part, requested)}
    if part.control is ControlImageKind.INPAINT:
        pipeline = diffusers.QwenImageControlNetInpaintPipeline
        more = {"control_image": source, "control_mask": Image.fromarray(requested.mask)}
    reference = pipeline.from_pretrained(spec.path, controlnet=network)
    reference.set_progress_bar_config(disable=True)
    size, generator = requested.image.size, torch.Generator().manual_seed(settings.seed)
    shape = (1, 16, size.height // 8, size.width // 8)
    torch.randn(shape, generator=generator)  # as if the source had been encoded, as `QwenImageInpaintPipeline` does
    with monkeypatch.context() as patched:
        patched.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
        latents = reference(
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            true_cfg_scale=settings.guidance_scale,
            height=size.height,
            width=size.width,
            num_inference_steps=settings.steps,
            controlnet_conditioning_scale=1.0 if settings.control_strength is None else settings.control_strength,
            control_guidance_start=settings.control_start or 0.0,
            control_guidance_end=1.0 if settings.control_end is None else settings.control_end,
            latents=pack(torch.randn(shape, generator=generator)),
            output_type="latent",
            **more,
        ).images
    return unpacked(reference, latents, size)


def unpacked(reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
    shaped: torch.Tensor = reference._unpack_latents(latents, size.height, size.width, reference.vae_scale_factor)
    return shaped[:, :, 0]


@pytest.mark.parametrize("changes", [PLAIN, {**GUIDED, "control_strength": 0.6}], ids=["plain", "guided"])
def test_an_inpainting_one_equals_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, inpainter: ModelSpec, changes: dict[str, Any]
) -> None:
    requested = request(control=inpainter.slug, **changes)
    (latents,) = denoised_latents(spec, [requested], [inpainter])
    close(latents, reference_result(monkeypatch, spec, requested, inpainter))
    assert differ(latents, denoised_latents(spec, [request(**changes)])[0])


@pytest.mark.parametrize("kind", ["canny", "depth"])
@pytest.mark.parametrize(
    "changes", [PLAIN, {**GUIDED, "control_start": 0.2, "control_end": 0.6}], ids=["plain", "part"]
)
def test_a_union_equals_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, union: ModelSpec, kind: str, changes: dict[str, Any]
) -> None:
    requested = request(control=union.slug, control_type=kind, **changes)
    whole = replace(requested, mask=np.full_like(requested.mask, 255))  # the pipeline takes no mask
    (latents,) = denoised_latents(spec, [whole], [union])
    close(latents, reference_result(monkeypatch, spec, whole, union))
    (alone,) = denoised_latents(spec, [request(**{name: changes[name] for name in changes if name in GUIDED})])
    masked = denoised_latents(spec, [requested], [union])[0]
    kept = torch.from_numpy(requested.mask[::8, ::8] == 0)
    torch.testing.assert_close(masked[..., kept], alone[..., kept])
    assert differ(masked, alone)


def test_start_and_end_are_those_of_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, inpainter: ModelSpec
) -> None:
    requested = request(control=inpainter.slug, control_start=0.2, control_end=0.6, **GUIDED)
    whole = replace(requested, mask=np.full_like(requested.mask, 255))
    close(denoised_latents(spec, [whole], [inpainter])[0], reference_result(monkeypatch, spec, whole, inpainter))


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
    spec: ModelSpec, inpainter: ModelSpec, union: ModelSpec
) -> None:
    both = (ControlUse(inpainter.slug, 0.5), ControlUse(union.slug, 0.7, 0.2, 0.8, "depth"))
    changes: list[dict[str, Any]] = [
        {"controls": both, **PLAIN},
        {"controls": both, **GUIDED, "guidance_end": 0.4},
        {"controls": both[::-1], **GUIDED, "prompt": "a red bus " * 20},
        {"controls": (both[0], replace(both[1], strength=0.0)), **PLAIN},
    ]
    parts = [inpainter, union]
    requested = [request(seed=seed, **changed) for seed, changed in enumerate(changes)]
    for sent, latents in zip(requested, denoised_latents(spec, requested, parts), strict=True):
        close(latents, denoised_latents(spec, [sent], parts)[0])
    first, *others = (
        denoised_latents(spec, [request(controls=uses, **PLAIN)], parts)[0] for uses in (both, both[:1], both[1:])
    )
    assert all(differ(first, other) for other in others)


def test_when_memory_is_short_each_row_is_computed_alone(spec: ModelSpec, inpainter: ModelSpec) -> None:
    requested = [request(control=inpainter.slug, seed=seed, **GUIDED) for seed in range(2)]
    loop = batcher()
    loop.cache.get(spec).rows_per_call = 1
    calls: list[int] = []
    network = loop.cache.adapter(inpainter)
    network.register_forward_pre_hook(
        lambda module, given, named: calls.append(len(named["hidden_states"])), with_kwargs=True
    )
    together = denoised_latents(spec, requested, [inpainter], by=loop)
    assert set(calls) == {1}
    for latents, expected in zip(together, denoised_latents(spec, requested, [inpainter]), strict=True):
        close(latents, expected)


def test_another_shape_or_kind_is_refused(
    spec: ModelSpec, inpainter: ModelSpec, union: ModelSpec, folder: Path
) -> None:
    wrong = tiny_adapters.saved_controlnet(
        folder / "wrong", "qwen-image", ControlImageKind.INPAINT, joint_attention_dim=48
    )
    refused: list[tuple[ModelSpec, dict[str, Any], str]] = [
        (wrong, {}, "does not fit"),
        (union, {"control_type": "inpaint"}, "not trained on inpaint"),
        (union, {"control_type": "normal"}, "not trained on normal"),
        (replace(inpainter, control=ControlImageKind.CANNY), {}, "trained on inpaint, and not on canny"),
    ]
    for part, changes, message in refused:
        with pytest.raises(EngineFailed, match=message) as failed:
            painted(batcher(), request(control=part.slug, **changes), spec, [part])
        assert failed.value.code == "adapter_unfit"
