"""FLUX.1 Fill: a transformer that takes the mask and the kept part of the image."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn.functional import pixel_unshuffle

from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import pmark
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE, VAE_SCALE_FACTOR
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.families.flux.network import Flux, FluxState


class FluxFill(Flux):
    """A loaded model of the family flux-fill.

    The condition of each token is further channels: 4 * c of the masked image, 256 of the mask's 8x8 pixels of each
    latent pixel, 1 = repaint.
    """

    trained_for: ClassVar[str] = pmark("what a model was trained for", "filling")
    condition_dim: ClassVar[int] = 2

    @property
    def input_channels(self) -> int:
        """Return the channels of a token: of two patches of latents, and of the mask's pixels."""
        return int(PATCH_SIZE**2 * (2 * self.vae.config.latent_channels + VAE_SCALE_FACTOR**2))

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """Start an image as `LatentModel.start` describes. The window's sides are multiples of 16.

        The transformer takes the mask pixel by pixel, where grey of half and more is to be repainted.
        """
        codec = codec or self.codec()
        begun = self.begin(request, index, codec)
        inputs = begun.inputs
        pixel_mask = (inputs.pixel_mask >= 0.5).float()
        pixel_masks = pixel_unshuffle(pixel_mask, VAE_SCALE_FACTOR).to(self.hardware.device)
        masked_image = codec.encode(inputs.pixels * (1 - pixel_mask), inputs.generator, inputs.masked_key)
        state = FluxState(
            latents=begun.latents,
            text=text,
            guidance=self.guidance(request.settings),
            schedule=begun.schedule,
            mask=inputs.mask,
            masked_image=masked_image,
            image=begun.image if inputs.is_grey else None,
            noise=begun.noise,
            generator=inputs.generator,
            condition=torch.cat([pack(masked_image), pack(pixel_masks)], dim=2),
        )
        return state, begun.notes
