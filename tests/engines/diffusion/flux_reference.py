"""Shared by the tests of FLUX.1 [dev] and Fill: requests, and diffusers' pipelines for the same requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import diffusers
import numpy as np

from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.latent_model import LatentModel
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import FlowContract
from tests.engines.diffusion import plain_flow

__all__ = ["SIZE", "FluxDevContract", "FluxFillContract", "assert_equal", "diffusers_result", "request"]

SIZE = Size(plain_flow.WIDTH, plain_flow.HEIGHT)


def request(**settings: Any) -> InpaintRequest:
    """A photo that is wider than high, and a binary mask that is not on the grid of the latents."""
    mask = np.zeros((SIZE.height, SIZE.width), np.uint8)
    mask[13:45, 9:38] = 255
    return replace(plain_flow.request(**settings), mask=mask)


class FluxDevContract(FlowContract):
    family = "flux-dev"
    pipeline = diffusers.FluxInpaintPipeline

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        return {**super().arguments(model, settings), "max_sequence_length": model.max_tokens}


class FluxFillContract(FlowContract):
    family = "flux-fill"
    pipeline = diffusers.FluxFillPipeline
    encoded_images = 2

    def request(self, **settings: Any) -> InpaintRequest:
        return request(**settings)


def diffusers_result(model: LatentModel, requested: InpaintRequest, *, scheduler: Any = None) -> Any:
    """The latents of the reference pipeline built from the same components."""
    return FluxFillContract().reference_result(model, requested, scheduler=scheduler)
