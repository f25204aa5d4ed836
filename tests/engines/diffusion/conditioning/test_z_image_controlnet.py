"""ControlNets of Z-Image: results equal diffusers' pipelines, and a hole is filled by what is around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.engines.diffusion.conditioning import controlnet
from inpainting.networks.device.hardware import Hardware
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.conditioning.adapter_requests import (
    batcher,
    close,
    control_image,
    denoised_latents,
    differ,
    painted,
)
from tests.engines.diffusion.pipelines import STEPS, ignore_step
from tests.support import tiny_adapters, tiny_models
from tests.support.matrix import each_value_once

UNION = ControlImageKind.UNION
GUIDED: dict[str, Any] = {"guidance_scale": 4.0, "negative_prompt": "blurred, and more words than in the prompt"}
REFINERS = {"1": None, "2.0": "control_layers", "2.1": "control_noise_refiner"}
"""Version of Z-Image-Fun -> `add_control_noise_refiner`."""


def request(**settings: Any) -> InpaintRequest:
    """A request with a control image, that of a depth map for example."""
    requested = plain_flow.request(**settings)
    sent = CanonicalImage(np.ascontiguousarray(np.asarray(requested.image.pixels)[::-1]))
    return replace(requested, conditioning_images={"control_image": sent})


def repainting(requested: InpaintRequest, mask: NDArray[np.uint8]) -> InpaintRequest:
    return replace(requested, mask=mask)


@pytest.fixture(scope="module")
def spec(folder: Path) -> ModelSpec:
    return tiny_models.saved(folder / "z-image", "z-image")


@pytest.fixture(scope="module")
def unions(folder: Path) -> dict[str, ModelSpec]:
    """Version of Z-Image-Fun -> a ControlNet-Union."""
    return {
        version: tiny_adapters.saved_controlnet(folder / f"fun-{version}", "z-image", UNION, refiner=refiner)
        for version, refiner in REFINERS.items()
    }


class WithoutControlImage(diffusers.ZImageControlNetInpaintPipeline):  # type: ignore[misc]  # no types
    """diffusers' pipeline needs a control image; the publisher's takes latents of 0 where there is none."""

    def prepare_image(self, **arguments: Any) -> torch.Tensor:
        self.prepared = getattr(self, "prepared", 0) + 1
        image: torch.Tensor = super().prepare_image(**arguments)
        if self.prepared == 1:
            encode = self.vae.encode

            def encode_nothing(pixels: torch.Tensor) -> Any:
                self.vae.encode = encode
                mode = encode(pixels).latent_dist.mode()
                moments = torch.cat([torch.full_like(mode, self.vae.config.shift_factor), mode], dim=1)
                return diffusers.models.modeling_outputs.AutoencoderKLOutput(DiagonalGaussianDistribution(moments))

            self.vae.encode = encode_nothing
        return image


def reference_result(
    spec: ModelSpec, requested: InpaintRequest, union: ModelSpec, steps: range = range(STEPS)
) -> torch.Tensor:
    """The latents of diffusers' pipeline, from the same noise. steps: in which the ControlNet is applied."""
    settings = requested.settings
    network = diffusers.ZImageControlNetModel.from_pretrained(union.path)
    if steps != range(STEPS):
        forward, calls = network.forward, iter(range(STEPS))

        def in_some_steps(*arguments: Any, conditioning_scale: float, **more: Any) -> Any:
            scale = conditioning_scale if next(calls) in steps else 0.0
            return forward(*arguments, conditioning_scale=scale, **more)

        network.forward = in_some_steps
    sees_hole = network.config.control_in_dim > 16
    pipeline: type[Any] = diffusers.ZImageControlNetInpaintPipeline if sees_hole else diffusers.ZImageControlNetPipeline
    if settings.control_type == "inpaint":
        pipeline = WithoutControlImage
    reference = pipeline.from_pretrained(spec.path, controlnet=network)
    reference.set_progress_bar_config(disable=True)
    size, generator = requested.image.size, torch.Generator().manual_seed(settings.seed)
    source = Image.fromarray(np.asarray(requested.image.pixels))
    more: dict[str, Any] = {}
    if sees_hole:
        more = {"image": source, "mask_image": Image.fromarray(requested.mask)}
    shape = (1, 16, size.height // 8, size.width // 8)
    torch.randn(shape, generator=generator)  # as if the source had been encoded, as `ZImageInpaintPipeline` does first
    latents: torch.Tensor = reference(
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        guidance_scale=(settings.guidance_scale or spec.guidance_scale) - 1,
        height=size.height,
        width=size.width,
        num_inference_steps=settings.steps,
        control_image=source if settings.control_type == "inpaint" else control_image(union, requested),
        controlnet_conditioning_scale=1.0 if settings.control_strength is None else settings.control_strength,
        latents=torch.randn(shape, generator=generator),
        output_type="latent",
        **more,
    ).images
    return latents


@pytest.mark.parametrize(
    ("version", "kind", "changes"),
    each_value_once(["2.0", "2.1"], ["inpaint", "canny", "depth"], [{}, {**GUIDED, "control_strength": 0.6}]),
)
def test_with_the_masked_image_it_equals_the_inpainting_pipeline(
    spec: ModelSpec, unions: dict[str, ModelSpec], version: str, kind: str, changes: dict[str, Any]
) -> None:
    union = unions[version]
    requested = request(control=union.slug, control_type=kind, **changes)
    (latents,) = denoised_latents(spec, [requested], [union])
    close(latents, reference_result(spec, requested, union))
    assert differ(latents, denoised_latents(spec, [request(**changes)])[0])


def test_version_1_sees_the_control_image_alone_and_the_kept_part_is_restored(
    spec: ModelSpec, unions: dict[str, ModelSpec]
) -> None:
    union = unions["1"]
    requested = request(control=union.slug, control_type="depth", **GUIDED)
    whole = repainting(requested, np.full_like(requested.mask, 255))
    close(denoised_latents(spec, [whole], [union])[0], reference_result(spec, whole, union))
    (latents,) = denoised_latents(spec, [requested], [union])
    (alone,) = denoised_latents(spec, [request(**GUIDED)])
    kept = torch.from_numpy(requested.mask[::8, ::8] == 0)
    torch.testing.assert_close(latents[..., kept], alone[..., kept])
    assert differ(latents, alone)
    with pytest.raises(EngineFailed, match="not trained on inpaint") as failed:
        painted(batcher(), request(control=union.slug, control_type="inpaint"), spec, [union])
    assert failed.value.code == "adapter_unfit"


def test_start_and_end_are_the_steps_in_which_it_is_applied(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    requested = request(control=union.slug, control_type="inpaint", control_start=0.2, control_end=0.6)
    whole = repainting(requested, np.full_like(requested.mask, 255))
    close(denoised_latents(spec, [whole], [union])[0], reference_result(spec, whole, union, range(1, 3)))


def test_the_kept_part_is_restored_in_the_steps_without_it(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    kept = torch.from_numpy(request().mask[::8, ::8] == 0)
    (alone,) = denoised_latents(spec, [request()])
    for end, is_restored in ((1.0, False), (0.8, True)):
        requested = request(control=union.slug, control_type="inpaint", control_end=end)
        (latents,) = denoised_latents(spec, [requested], [union])
        assert torch.allclose(latents[..., kept], alone[..., kept]) is is_restored


def test_what_fills_the_hole_depends_on_what_is_around_it(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    requested = request(control=union.slug, control_type="inpaint")
    inverted = CanonicalImage(255 - np.asarray(requested.image.pixels, np.uint8))
    hole = np.array(requested.image.pixels, np.uint8)
    hole[requested.mask > 0] = 0
    latents, other, same = denoised_latents(
        spec, [requested, replace(requested, image=inverted), replace(requested, image=CanonicalImage(hole))], [union]
    )
    assert differ(latents, other)
    close(latents, same)


def test_a_strength_of_0_changes_nothing(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    for without in ({"control_strength": 0.0}, {"control_start": 0.5, "control_end": 0.5}):
        requested = request(control=union.slug, control_type="inpaint", **without)
        assert torch.equal(denoised_latents(spec, [requested], [union])[0], denoised_latents(spec, [request()])[0])


def test_requests_share_calls_with_the_results_they_have_alone(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    changes: list[dict[str, Any]] = [
        {"control_type": "inpaint"},
        {"control_type": "depth", "control_strength": 0.5, **GUIDED},
        {"control_type": "inpaint", "control_end": 0.4, "prompt": "a red bus " * 20},
        {"control_type": "canny", "control_start": 0.6, **GUIDED, "guidance_end": 0.4},
    ]
    requested = [request(control=union.slug, seed=seed, **changed) for seed, changed in enumerate(changes)]
    for sent, latents in zip(requested, denoised_latents(spec, requested, [union]), strict=True):
        close(latents, denoised_latents(spec, [sent], [union])[0])


def test_a_union_may_be_used_for_two_kinds_at_once(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    uses = ControlUse(union.slug, 0.5, type="inpaint"), ControlUse(union.slug, 0.5, end=0.6, type="depth")
    sent = request().conditioning_images["control_image"]
    images = {"control_image": sent, "control_image_2": sent}
    both, swapped, *alone = (
        denoised_latents(spec, [replace(request(controls=chosen), conditioning_images=images)], [union])[0]
        for chosen in (uses, uses[::-1], uses[:1], uses[1:])
    )
    close(both, swapped)
    assert all(differ(both, one) for one in alone)


def test_it_is_applied_to_a_model_whose_layers_wait_in_the_memory_of_the_machine(
    spec: ModelSpec, unions: dict[str, ModelSpec]
) -> None:
    union, loop = unions["2.1"], batcher()
    requested = request(control=union.slug, control_type="inpaint")
    transformer = loop.cache.get(spec).pipeline.transformer
    accelerate.cpu_offload(transformer, execution_device=torch.device("cpu"))
    assert transformer.x_pad_token.is_meta
    close(denoised_latents(spec, [requested], [union], by=loop)[0], denoised_latents(spec, [requested], [union])[0])


def test_it_holds_nothing_of_the_model_and_computes_in_its_precision(
    spec: ModelSpec, unions: dict[str, ModelSpec]
) -> None:
    union = unions["2.1"]
    loop = batcher()
    loop.cache.loads.hardware = Hardware(torch.device("cpu"), torch.float16)
    requested = request(control=union.slug, control_type="inpaint")
    assert painted(loop, requested, spec, [union]).any()
    network = loop.cache.adapter(union)
    assert network.dtype == torch.bfloat16
    assert not any(name.startswith(("noise_refiner", "x_pad_token", "t_embedder")) for name in network.state_dict())


def test_another_shape_or_kind_is_refused(spec: ModelSpec, unions: dict[str, ModelSpec], folder: Path) -> None:
    shapes: list[dict[str, Any]] = [
        {"dim": 64},
        {"control_layers_places": [0, 2]},
        {"control_in_dim": 20},
        {"n_refiner_layers": 2, "control_refiner_layers_places": [0, 1]},
    ]
    for number, shape in enumerate(shapes):
        wrong = tiny_adapters.saved_controlnet(folder / f"wrong-{number}", "z-image", UNION, **shape)
        with pytest.raises(EngineFailed, match="does not fit") as failed:
            painted(batcher(), request(control=wrong.slug), spec, [wrong])
        assert failed.value.code == "adapter_unfit"
    union = unions["2.1"]
    with pytest.raises(EngineFailed, match="not trained on normal"):
        painted(batcher(), request(control=union.slug, control_type="normal"), spec, [union])


def test_one_applied_in_no_step_gives_a_note(spec: ModelSpec, unions: dict[str, ModelSpec]) -> None:
    union = unions["2.1"]
    requested = request(control=union.slug, control_type="inpaint", control_end=0.1)
    assert batcher().paint(requested, spec, ignore_step, (), [union])[1] == (
        controlnet.NEVER_APPLIED.format(name=union.slug),
    )
