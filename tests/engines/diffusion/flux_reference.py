"""Shared by the tests of FLUX.1 Fill: requests, and diffusers' pipeline for the same requests."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from skimage import data

from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.families.flux_fill.network import FluxFill
from tests.engines.diffusion.pipelines import STEPS, call_arguments, counting_steps

SIZE = Size(96, 64)


def request(**settings: Any) -> InpaintRequest:
    """A photo that is wider than high, and a binary mask that is not on the grid of the latents."""
    pixels = np.ascontiguousarray(data.astronaut()[: 8 * SIZE.height : 8, 50 : 50 + 4 * SIZE.width : 4])
    mask = np.zeros((SIZE.height, SIZE.width), np.uint8)
    mask[13:45, 9:38] = 255
    usual = {"prompt": "a red bus", "seed": 7, "strength": 1.0, "steps": STEPS}
    return InpaintRequest(CanonicalImage(pixels), mask, PaintSettings(**{**usual, **settings}))


def diffusers_result(
    model: FluxFill, requested: InpaintRequest, *, output_type: str = "latent", scheduler: Any = None
) -> Any:
    """The result of the reference pipeline built from the same components."""
    settings = requested.settings
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
    kind = counting_steps(diffusers.FluxFillPipeline, scheduler)
    reference = kind(**{**model.pipeline.components, "scheduler": scheduler})
    reference.set_progress_bar_config(disable=True)
    arguments = {**call_arguments(requested), "guidance_scale": model.guidance(settings), "output_type": output_type}
    answer = reference(**arguments).images
    if output_type != "latent":
        return answer
    # A static method of the reference; diffusers has no public name for it.
    return diffusers.FluxFillPipeline._unpack_latents(answer, SIZE.height, SIZE.width, 8)


def assert_equal(latents: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
