"""What families of flow-matching models have in common: the beginning of an image, and its tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import pixel_unshuffle

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sample_inputs import SampleInputs
from inpainting.engines.diffusion.schedule import Schedule


class FlowStart(NamedTuple):
    """An image before its first step. image, noise: [1, c, h, w]. notes: of the scheduler."""

    inputs: SampleInputs
    schedule: Schedule
    image: torch.Tensor
    noise: torch.Tensor
    notes: tuple[str, ...]

    @property
    def latents(self) -> torch.Tensor:
        return self.schedule.noised(self.image, self.noise)


class FlowModel(LatentModel):
    """A loaded flow-matching model."""

    samples_image = True
    """Whether the source image's latents are drawn from the VAE's distribution, before the noise, or are its mode."""

    def begin(self, request: InpaintRequest, index: int, codec: LatentCodec) -> FlowStart:
        inputs = SampleInputs.of(request, index, self.hardware.device)
        config = {**self.scheduler_config, **flow_schedulers.fixed_shift(self.loras.flow_shift)}
        schedule, notes = flow_schedulers.schedule(request.settings, self.spec, config, inputs.latent_size)
        image = codec.encode(inputs.pixels, inputs.generator if self.samples_image else None, inputs.key)
        return FlowStart(inputs, schedule, image, self.draw_noise(inputs.latent_size, inputs.generator), notes)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[n, c, h, w] -> [n, h * w / 4, 4 * c]: patches of PATCH_SIZE latent pixels a side, as tokens."""
    return pixel_unshuffle(latents, PATCH_SIZE).flatten(2).transpose(1, 2).contiguous()
