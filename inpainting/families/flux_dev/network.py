"""FLUX.1 [dev], Krea and [schnell]: a transformer that takes noisy latents and the prompt alone."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.families.flux.network import Flux, FluxState
from inpainting.networks.device.hardware import Hardware

SCHNELL_MAX_TOKENS = 256
"""Tokens of the prompt that FLUX.1 [schnell] was trained on, as `FluxPipeline`'s documentation says."""


class FluxDev(Flux):
    """A loaded model of the family flux-dev.

    It was not trained for masks: kept parts are restored in each step. [schnell] takes no guidance scale, and reads
    half as many tokens.
    """

    trained_for: ClassVar[str] = "painting by a prompt alone"
    condition_dim: ClassVar[int] = 1

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        if not self.transformer.config.guidance_embeds:
            self.max_tokens = SCHNELL_MAX_TOKENS

    @property
    def input_channels(self) -> int:
        """Return the channels of a token: those of the patch of latents."""
        return int(PATCH_SIZE**2 * self.vae.config.latent_channels)

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """Start an image as `LatentModel.start` describes. The window's sides are multiples of 16."""
        begun = self.begin(request, index, codec or self.codec())
        state = FluxState(
            latents=begun.latents,
            text=text,
            guidance=self.guidance(request.settings),
            schedule=begun.schedule,
            mask=begun.inputs.mask,
            masked_image=None,
            image=begun.image,
            noise=begun.noise,
            generator=begun.inputs.generator,
            condition=pack(begun.image)[:, :0],  # no tokens follow those of the latents
        )
        return state, begun.notes
