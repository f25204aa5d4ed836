"""ControlNets of transformers: how an inpainting one sees the image, and what they add to the transformer's blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import ceil
from typing import Any

import torch

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.sample_inputs import SampleInputs

MASK_CHANNELS = PATCH_SIZE**2
"""Further channels of a token where a ControlNet takes the mask too."""
BLACK = -1.0
"""Value of masked pixels in the image that an inpainting ControlNet sees."""


def latents_without_hole(request: InpaintRequest, codec: LatentCodec) -> torch.Tensor:
    """Return what an inpainting ControlNet sees, [1, c + 1, h, w] in float32.

    It is the latents of the image with black masked pixels, and 1 where the mask keeps, as in diffusers'
    `StableDiffusion3ControlNetInpaintingPipeline` and `QwenImageControlNetInpaintPipeline`; the latents are the mode.
    """
    inputs = SampleInputs.of(request, 0, codec.device)
    kept = codec.encode(torch.where(inputs.pixel_mask > 0.5, BLACK, inputs.pixels), None)
    return torch.cat([kept, (inputs.mask <= 0.5).float()], dim=1)


def move_to_device(transformer: Any) -> None:
    """Have the weights of a transformer where they compute, before a layer of it is called from outside.

    They may wait in the machine's memory for a call of the transformer.
    """
    hook = getattr(transformer, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(transformer)


def place_evenly(block: int, blocks: int, count: int) -> int:
    """Return which of a ControlNet's `count` outputs is added to a block, as FLUX.1 and Qwen-Image spread them."""
    return block // ceil(blocks / count)


def place_by_share(block: int, blocks: int, count: int) -> int:
    """Return which of a ControlNet's `count` outputs is added to a block, as Stable Diffusion 3 spreads them."""
    return int(block / (blocks / count))


class BlockSamples:
    """The sum of ControlNets' outputs for each row of a step batch. Rows that none was added to have 0."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._totals: dict[int, list[torch.Tensor]] = {}
        """Number of outputs of a ControlNet -> the sum of each, [rows, tokens, features], of those with so many."""

    def add(self, outputs: Sequence[torch.Tensor], places: torch.Tensor, sources: torch.Tensor | None = None) -> None:
        """Add a ControlNet's outputs, each times its strength already.

        outputs: one for each of its blocks, [calls, tokens, features]. places: the row of the step batch that each of
        `sources`, rows of the outputs, is added to; a row may be there twice. Without `sources` these are all rows.
        """
        totals = self._totals.setdefault(
            len(outputs), [output.new_zeros(self._rows, *output.shape[1:]) for output in outputs]
        )
        for total, output in zip(totals, outputs, strict=True):
            total.index_add_(0, places, output if sources is None else output[sources])

    def spread(self, blocks: int, place: Callable[[int, int, int], int] = place_evenly) -> list[torch.Tensor] | None:
        """Return the sum for each of a transformer's blocks, over which each ControlNet's are spread by `place`.

        None where nothing was added. As diffusers' transformers spread them.
        """
        found = list(self._totals.values())
        if not found:
            return None
        chosen = [tuple(place(block, blocks, len(samples)) for samples in found) for block in range(blocks)]
        sums = {
            places: reduce(torch.add, [samples[place] for samples, place in zip(found, places, strict=True)])
            for places in dict.fromkeys(chosen)
        }
        return [sums[places] for places in chosen]
