"""Shared by the tests of FLUX.1 with a ControlNet: diffusers' pipeline for the same request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from tests.engines.diffusion.conditioning.adapter_requests import control_image


@contextmanager
def first_sample_is_mode(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a pipeline take the mode of the control image's latents, as we do, and draw those of the image after it."""
    sample, calls = DiagonalGaussianDistribution.sample, []

    def patched(self: Any, generator: Any = None) -> Any:
        calls.append(self)
        return self.mode() if len(calls) == 1 else sample(self, generator)

    with monkeypatch.context() as patching:
        patching.setattr(DiagonalGaussianDistribution, "sample", patched)
        yield


def arguments(requested: InpaintRequest) -> dict[str, Any]:
    settings, size = requested.settings, requested.image.size
    return {
        "prompt": settings.prompt,
        "height": size.height,
        "width": size.width,
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "controlnet_conditioning_scale": 1.0 if settings.control_strength is None else settings.control_strength,
        "control_guidance_start": settings.control_start or 0.0,
        "control_guidance_end": 1.0 if settings.control_end is None else settings.control_end,
        "output_type": "latent",
    }


def reference(
    monkeypatch: pytest.MonkeyPatch,
    spec: ModelSpec,
    requested: InpaintRequest,
    part: ModelSpec,
    mode: int | None,
    **changes: Any,
) -> torch.Tensor:
    """The latents of diffusers' pipeline for a ControlNet with a control image. changes: its arguments."""
    network = diffusers.FluxControlNetModel.from_pretrained(part.path)
    pipeline = diffusers.FluxControlNetInpaintPipeline.from_pretrained(spec.path, controlnet=network)
    pipeline.set_progress_bar_config(disable=True)
    settings = requested.settings
    with first_sample_is_mode(monkeypatch):
        latents = pipeline(
            image=Image.fromarray(np.asarray(requested.image.pixels)),
            mask_image=Image.fromarray(requested.mask),
            control_image=control_image(part, requested),
            control_mode=mode,
            strength=settings.strength,
            generator=torch.Generator().manual_seed(settings.seed),
            **{**arguments(requested), **changes},
        ).images
    return unpacked(pipeline, latents, requested)


def unpacked(pipeline: Any, latents: torch.Tensor, requested: InpaintRequest) -> torch.Tensor:
    size = requested.image.size
    shaped: torch.Tensor = pipeline._unpack_latents(latents, size.height, size.width, pipeline.vae_scale_factor)
    return shaped
