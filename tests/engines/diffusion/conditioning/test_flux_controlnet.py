"""ControlNets of FLUX.1 [dev]: results equal diffusers' pipelines, and a hole is filled by what is around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.engines.diffusion.flow_model import pack
from inpainting.families.flux_dev.controlnet import FluxControlNetModel
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.conditioning.adapter_requests import (
    batcher,
    close,
    denoised_latents,
    differ,
    painted,
)
from tests.engines.diffusion.conditioning.flux_controlnets import (
    arguments,
    first_sample_is_mode,
    reference,
    unpacked,
)
from tests.support import tiny_adapters, tiny_models

MODES = {"canny": 0, "tile": 1, "depth": 2, "openpose": 4}


def request(**settings: Any) -> InpaintRequest:
    """A request with a control image, that of a depth map for example."""
    requested = plain_flow.request(guidance_scale=3.5, **settings)
    sent = CanonicalImage(np.ascontiguousarray(np.asarray(requested.image.pixels)[::-1]))
    return replace(requested, conditioning_images={"control_image": sent})


@pytest.fixture(scope="module")
def spec(folder: Path) -> ModelSpec:
    """A model with more blocks than its ControlNets."""
    saved = tiny_models.saved(folder / "flux-dev", "flux-dev")
    config = diffusers.FluxTransformer2DModel.load_config(folder / "flux-dev" / "transformer")
    network = diffusers.FluxTransformer2DModel.from_config({**config, "num_layers": 3, "num_single_layers": 2})
    network.save_pretrained(folder / "flux-dev" / "transformer")
    return saved


@pytest.fixture(scope="module")
def inpainter(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_controlnet(folder / "hole", "flux-dev", ControlImageKind.INPAINT, num_layers=2)


@pytest.fixture(scope="module")
def union(folder: Path) -> ModelSpec:
    """One with an embedding of each mode, as the first ones have."""
    return tiny_adapters.saved_controlnet(
        folder / "union",
        "flux-dev",
        ControlImageKind.UNION,
        seed=1,
        inpaints=False,
        num_layers=2,
        num_single_layers=1,
        num_mode=10,
    )


@pytest.fixture(scope="module")
def depth(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_controlnet(
        folder / "depth", "flux-dev", ControlImageKind.DEPTH, seed=2, inpaints=False, guidance_embeds=False
    )


def published_steps(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, requested: InpaintRequest, part: ModelSpec
) -> torch.Tensor:
    """The latents of diffusers' pipeline, whose control image is made as its publisher makes it.

    github.com/alimama-creative/FLUX-Controlnet-Inpainting, `prepare_image_with_mask`: it is -1 where the mask is more
    than a half, and the mask of the latents' size, 1 = keep, is packed with its latents.
    """
    pipeline = diffusers.FluxControlNetPipeline.from_pretrained(
        spec.path, controlnet=FluxControlNetModel.from_pretrained(part.path)
    )
    pipeline.set_progress_bar_config(disable=True)
    size, generator = requested.image.size, torch.Generator().manual_seed(requested.settings.seed)
    shape = (1, 16, size.height // 8, size.width // 8)
    torch.randn(shape, generator=generator)  # as if the source had been encoded, as `FluxInpaintPipeline` does
    mask = torch.from_numpy(requested.mask.astype(np.float32) / 255)[None, None]
    image = pipeline.image_processor.preprocess(Image.fromarray(np.asarray(requested.image.pixels)))
    image[(mask > 0.5).repeat(1, 3, 1, 1)] = -1
    kept = 1 - torch.nn.functional.interpolate(mask, size=shape[2:])
    packing = pipeline._pack_latents

    def packed(latents: torch.Tensor, count: int, channels: int, height: int, width: int) -> torch.Tensor:
        together: torch.Tensor = packing(torch.cat([latents, kept], dim=1), count, channels + 1, height, width)
        return together

    with first_sample_is_mode(monkeypatch):
        monkeypatch.setattr(pipeline, "_pack_latents", packed)
        latents = pipeline(
            control_image=image, latents=pack(torch.randn(shape, generator=generator)), **arguments(requested)
        ).images
    return unpacked(pipeline, latents, requested)


@pytest.mark.parametrize("changes", [{}, {"control_strength": 0.6, "control_start": 0.2, "control_end": 0.9}])
def test_an_inpainting_one_equals_the_published_steps(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, inpainter: ModelSpec, changes: dict[str, Any]
) -> None:
    requested = request(control=inpainter.slug, **changes)
    if changes:  # without it the kept part is restored, which the pipeline does not do
        requested = replace(requested, mask=np.full_like(requested.mask, 255))
    (latents,) = denoised_latents(spec, [requested], [inpainter])
    close(latents, published_steps(monkeypatch, spec, requested, inpainter))
    assert differ(latents, denoised_latents(spec, [replace(request(), mask=requested.mask)])[0])


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("canny", {}),
        pytest.param("tile", {}, marks=pytest.mark.full),
        ("depth", {"strength": 0.7, "control_strength": 0.6, "control_end": 0.6}),
        pytest.param("openpose", {"control_start": 0.2}, marks=pytest.mark.full),
    ],
)
def test_a_union_equals_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, union: ModelSpec, kind: str, changes: dict[str, Any]
) -> None:
    requested = request(control=union.slug, control_type=kind, **changes)
    (latents,) = denoised_latents(spec, [requested], [union])
    close(latents, reference(monkeypatch, spec, requested, union, MODES[kind]))
    assert differ(latents, denoised_latents(spec, [request(**changes)])[0])


def test_one_for_depth_equals_the_reference_pipeline(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, depth: ModelSpec
) -> None:
    requested = request(control=depth.slug)
    (latents,) = denoised_latents(spec, [requested], [depth])
    close(latents, reference(monkeypatch, spec, requested, depth, None))
    assert differ(latents, denoised_latents(spec, [request()])[0])


def test_what_fills_the_hole_depends_on_what_is_around_it(spec: ModelSpec, inpainter: ModelSpec) -> None:
    requested = request(control=inpainter.slug)
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


@pytest.mark.full
def test_requests_share_calls_with_the_results_they_have_alone(
    spec: ModelSpec, inpainter: ModelSpec, union: ModelSpec, depth: ModelSpec
) -> None:
    uses = (
        ControlUse(inpainter.slug, 0.5),
        ControlUse(union.slug, 0.7, 0.2, 0.8, "canny"),
        ControlUse(union.slug, 0.4, type="depth"),
        ControlUse(depth.slug, 0.6),
    )
    changes: list[dict[str, Any]] = [
        {"controls": uses},
        {"controls": uses[::-1], "prompt": "a red bus " * 20},
        {"controls": (*uses[:2], replace(uses[2], strength=0.0), uses[3])},
    ]
    parts = [inpainter, union, depth]
    requested = [request(seed=seed, **changed) for seed, changed in enumerate(changes)]
    for sent, latents in zip(requested, denoised_latents(spec, requested, parts), strict=True):
        close(latents, denoised_latents(spec, [sent], parts)[0])
    first, *others = (
        denoised_latents(spec, [request(controls=some)], parts)[0]
        for some in (uses, *(uses[:number] + uses[number + 1 :] for number in range(len(uses))))
    )
    assert all(differ(first, other) for other in others)


@pytest.mark.full
def test_another_shape_or_kind_is_refused(
    spec: ModelSpec, inpainter: ModelSpec, union: ModelSpec, depth: ModelSpec, folder: Path
) -> None:
    wrong = tiny_adapters.saved_controlnet(
        folder / "wrong", "flux-dev", ControlImageKind.INPAINT, joint_attention_dim=48
    )
    pixels = tiny_adapters.saved_controlnet(
        folder / "pixels", "flux-dev", ControlImageKind.CANNY, inpaints=False, conditioning_embedding_channels=64
    )
    without_modes = replace(depth, control=ControlImageKind.UNION)
    refused: list[tuple[ModelSpec, dict[str, Any], str]] = [
        (wrong, {}, "does not fit"),
        (pixels, {}, "does not fit"),
        (union, {"control_type": "inpaint"}, "not trained on inpaint"),
        (union, {"control_type": "softedge"}, "not trained on softedge"),
        (union, {"control_type": "normal"}, "not trained on normal"),
        (without_modes, {"control_type": "tile"}, "not trained on tile"),
        (replace(inpainter, control=ControlImageKind.CANNY), {}, "not trained on canny"),
    ]
    for part, changes, message in refused:
        with pytest.raises(EngineFailed, match=message) as failed:
            painted(batcher(), request(control=part.slug, **changes), spec, [part])
        assert failed.value.code == "adapter_unfit"
