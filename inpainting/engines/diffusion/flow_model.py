"""What families of flow-matching models have in common: the beginning of an image, and its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pixel_unshuffle

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling import flow_schedulers
from inpainting.engines.diffusion.sampling.sample_inputs import SampleInputs
from inpainting.engines.diffusion.sampling.schedule import Schedule


class FlowStart(NamedTuple):
    """An image before its first step. image, first_image, noise: [1, c, h, w]. first_image: what it starts from beside
    the noise. notes: of the scheduler."""

    inputs: SampleInputs
    schedule: Schedule
    image: torch.Tensor
    first_image: torch.Tensor
    noise: torch.Tensor
    notes: tuple[str, ...]

    @property
    def latents(self) -> torch.Tensor:
        return self.schedule.noised(self.first_image, self.noise)


class FlowModel(LatentModel):
    """A loaded flow-matching model."""

    samples_image = True
    """Whether the source image's latents are drawn from the VAE's distribution, before the noise, or are its mode."""

    def shift(self, config: Mapping[str, Any], patches: int, steps: int) -> float:
        """Return how far the noise levels are shifted, see `flow_schedulers.Shift`."""
        return flow_schedulers.linear_shift(config, patches, steps)

    def levels(self, scheduler: Any, steps: int) -> NDArray[np.float64]:
        """Return the noise levels of the steps before they are shifted, see `flow_schedulers.Levels`."""
        return flow_schedulers.even_levels(scheduler, steps)

    def begin(self, request: InpaintRequest, index: int, codec: LatentCodec) -> FlowStart:
        inputs = SampleInputs.of(request, index, self.hardware.device)
        config = {**self.scheduler_config, **flow_schedulers.fixed_shift(self.loras.flow_shift)}
        schedule, notes = flow_schedulers.schedule(
            request.settings, self.spec, config, inputs.latent_size, self.shift, self.levels
        )
        image = codec.encode(inputs.pixels, inputs.generator if self.samples_image else None, inputs.key)
        noise = self.draw_noise(inputs.latent_size, inputs.generator)
        first = inputs.first_image(
            image, request.settings.masked_content, lambda: self.draw_noise(inputs.latent_size, inputs.generator)
        )
        return FlowStart(inputs, schedule, image, first, noise, notes)

    def parts_of(self, rows: int) -> Iterator[slice]:
        """Yield which rows of a step batch are computed at a time, see `rows_per_call`."""
        size = self.rows_per_call or rows
        return (slice(first, first + size) for first in range(0, rows, size))


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[n, c, h, w] -> [n, h * w / 4, 4 * c]: patches of PATCH_SIZE latent pixels a side, as tokens."""
    return pixel_unshuffle(latents, PATCH_SIZE).flatten(2).transpose(1, 2).contiguous()
