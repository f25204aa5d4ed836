"""FLUX.1 Kontext: a transformer that edits an image by instructions, and takes it as further tokens."""

from __future__ import annotations

from typing import ClassVar

import torch

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.families.flux.network import Flux, FluxState


class FluxKontext(Flux):
    """A loaded model of the family flux-kontext.

    The tokens of the source image follow those of the latents. It was not trained for masks: kept parts are restored in
    each step.
    """

    trained_for: ClassVar[str] = "editing"
    condition_dim: ClassVar[int] = 1
    samples_image = False

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
            condition=pack(begun.image),
        )
        return state, begun.notes

    def token_places(self, rows: int, columns: int) -> torch.Tensor:
        """Return the places of all tokens. The source image is image 1, at the places of image 0."""
        places = super().token_places(rows, columns)
        return torch.cat([places, places + torch.tensor([1.0, 0.0, 0.0])])
