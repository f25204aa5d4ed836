"""FLUX.1 Kontext: a flow matching transformer that edits an image by instructions, and takes it as further tokens."""

from __future__ import annotations

from typing import ClassVar

import torch

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.families.flux_fill import FluxFill, FluxState, packed
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE


class FluxKontext(FluxFill):
    """A loaded model of the family flux-kontext: text encoders and tokens of FLUX.1 Fill, another condition.

    The tokens of the source image follow those of the latents. It was not trained for masks: kept parts are restored in
    each step.
    """

    trained_for: ClassVar[str] = "editing"
    condition_dim: ClassVar[int] = 1

    @property
    def input_channels(self) -> int:
        """See `FluxFill.input_channels`."""
        return int(PATCH_SIZE**2 * self.vae.config.latent_channels)

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """See `LatentModel.start`. The window's sides are multiples of 16."""
        settings, inputs, codec = request.settings, self.sample_inputs(request, index), codec or self.codec()
        scheduler, timesteps, notes = flow_schedulers.schedule(
            settings, self.spec, self.scheduler_config, inputs.latent_size
        )
        weights = self.step_weights(scheduler, timesteps, flow_schedulers.read_flow_weights)
        image = codec.encode(inputs.pixels, None, inputs.key)
        noise = self.draw_noise(inputs.latent_size, inputs.generator)
        state = FluxState(
            latents=weights.add_noise(image, noise, 0),
            text=text,
            guidance=self.guidance(settings),
            weights=weights,
            mask=inputs.mask,
            masked_image=None,
            image=image,
            noise=noise,
            generator=inputs.generator,
            condition=packed(image),
        )
        return state, notes

    def token_places(self, rows: int, columns: int) -> torch.Tensor:
        """See `FluxFill.token_places`. The source image is picture 1, at the places of picture 0."""
        places = super().token_places(rows, columns)
        return torch.cat([places, places + torch.tensor([1.0, 0.0, 0.0])])
