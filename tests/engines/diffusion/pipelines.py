"""Shared by the parity tests: requests, our denoising loop, and diffusers' pipelines for the same requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from skimage import data

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import DEFAULT_STRENGTH
from inpainting.engines.base import Step
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.networks.device.hardware import Hardware
from tests.support import tiny_models

CPU = Hardware(torch.device("cpu"), torch.float32)
SIDE = 64
STEPS = 5
REFERENCES: dict[str, type[Any]] = {
    "sd": diffusers.StableDiffusionInpaintPipeline,
    "sdxl": diffusers.StableDiffusionXLInpaintPipeline,
}
FAMILIES = list(REFERENCES)
KINDS = [(family, inpainting) for family in REFERENCES for inpainting in (True, False)]
"""(family, whether its UNet is made for inpainting)."""


def request(
    *, control_image: CanonicalImage | None = None, ip_adapter_image: CanonicalImage | None = None, **settings: Any
) -> InpaintRequest:
    """A photo, and a binary mask on the grid of the latents: there diffusers' coarser mask equals ours."""
    image = CanonicalImage(np.ascontiguousarray(data.astronaut()[::8, ::8]))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    settings = {"prompt": "a red bus", "negative_prompt": "blur", "seed": 7, "steps": STEPS, **settings}
    images = {"control_image": control_image, "ip_adapter_image": ip_adapter_image}
    sent = {name: conditioning for name, conditioning in images.items() if conditioning is not None}
    return InpaintRequest(image, mask, PaintSettings(**settings), sent)


def ddim_request(**settings: Any) -> InpaintRequest:
    """A request with DDIM at full strength."""
    return request(**{"scheduler": "DDIMScheduler", "strength": 1.0, **settings})


def ignore_step(step: Step) -> None:
    """A progress callback that does nothing."""


def denoised(
    model: LatentModel, requested: InpaintRequest, embeddings: Sequence[Any] = (), codec: LatentCodec | None = None
) -> torch.Tensor:
    """The final latents of our loop, computed in a batch of one. codec: another VAE's."""
    text = tiny_models.encoded_request(model, requested, embeddings)
    denoising, _ = model.start(requested, 0, text, codec)
    while not denoising.is_done:
        (answer,) = model.predict([denoising])
        denoising.advance(answer)
    return denoising.latents


def reference_of(model: LatentModel, requested: InpaintRequest, **scheduler_changes: Any) -> Any:
    """diffusers' pipeline built from the model's components, with the scheduler of the request."""
    scheduler = getattr(diffusers, str(requested.settings.scheduler)).from_config(
        model.scheduler_config, clip_sample=False, **scheduler_changes
    )
    components = {**model.pipeline.components, "scheduler": scheduler}
    return type(model.pipeline)(**components, **tiny_models.switches(model.pipeline))


def loaded_reference(
    spec: ModelSpec,
    requested: InpaintRequest,
    *,
    pipelines: dict[str, type[Any]] = REFERENCES,
    components: dict[str, Any] | None = None,
    **scheduler_changes: Any,
) -> Any:
    """diffusers' pipeline loaded from the model's folder, with the scheduler of the request."""
    arguments = {**families.get(spec.family).pipeline_arguments, **(components or {})}
    reference = pipelines[spec.family].from_pretrained(spec.path, **arguments)
    reference.scheduler = getattr(diffusers, str(requested.settings.scheduler)).from_config(
        reference.scheduler.config, clip_sample=False, **scheduler_changes
    )
    return reference


def call_arguments(requested: InpaintRequest) -> dict[str, Any]:
    """The arguments that every inpainting pipeline of diffusers takes, with latents as output."""
    settings = requested.settings
    return {
        "prompt": settings.prompt,
        "image": Image.fromarray(np.asarray(requested.image.pixels)),
        "mask_image": Image.fromarray(requested.mask),
        "height": requested.image.size.height,
        "width": requested.image.size.width,
        "strength": DEFAULT_STRENGTH if settings.strength is None else settings.strength,
        "num_inference_steps": settings.steps,
        "generator": torch.Generator().manual_seed(settings.seed),
        "output_type": "latent",
    }


def run_reference(reference: Any, spec: ModelSpec, requested: InpaintRequest, **changes: Any) -> Any:
    """The latents of a Stable Diffusion pipeline, or its images with output_type="pil"."""
    settings = requested.settings
    arguments = {
        **call_arguments(requested),
        "negative_prompt": settings.negative_prompt or None,
        "guidance_scale": settings.guidance_scale or spec.guidance_scale,
        "clip_skip": (settings.clip_skip or 1) - 1 or None,
    }
    reference.set_progress_bar_config(disable=True)
    return reference(**{**arguments, **changes}).images


def reference_result(
    model: LatentModel, requested: InpaintRequest, *, output_type: str = "latent", **changes: Any
) -> Any:
    """The result of the reference pipeline built from the model's components. changes: scheduler arguments."""
    return run_reference(reference_of(model, requested, **changes), model.spec, requested, output_type=output_type)


class ShiftedHeun(diffusers.FlowMatchHeunDiscreteScheduler):  # type: ignore[misc]  # diffusers ships no types
    """Heun's method on the sigmas that the pipeline gives Euler's; diffusers' Heun scheduler takes no sigmas."""

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: float = 0.0
    ) -> None:
        super().set_timesteps(len(sigmas))
        shifted = [np.exp(mu) / (np.exp(mu) + 1 / sigma - 1) for sigma in sigmas]
        inner = [level for level in shifted[1:] for _ in range(2)]
        self.sigmas = torch.tensor([shifted[0], *inner, 0.0], dtype=torch.float32)
        self.timesteps = 1000 * self.sigmas[:-1]


def counting_steps(pipeline_class: type[Any], scheduler: Any) -> type[Any]:
    """A pipeline class that applies strength to the steps of the scheduler.

    diffusers' pipelines for flow matching count timesteps, and Heun's method has two of them a step.
    """
    if scheduler.order == 1:
        return pipeline_class

    class TwiceAStep(pipeline_class):  # type: ignore[misc]  # a class that is known at run time
        def get_timesteps(self, num_inference_steps: int, strength: float, device: Any) -> Any:
            return super().get_timesteps((num_inference_steps + 1) // 2, strength, device)

    return TwiceAStep
