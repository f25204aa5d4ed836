"""FLUX.1 [dev], Krea and [schnell]: a transformer that takes noisy latents and the prompt alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import pmark
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, RequestedControl
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.families.flux.network import UnmaskedFlux
from inpainting.families.flux_dev import controlnet
from inpainting.networks.device.hardware import Hardware

SCHNELL_MAX_TOKENS = 256
"""Tokens of the prompt that FLUX.1 [schnell] was trained on, as `FluxPipeline`'s documentation says."""


class FluxDev(UnmaskedFlux):
    """A loaded model of the family flux-dev.

    [schnell] takes no guidance scale, and reads half as many tokens.
    """

    trained_for: ClassVar[str] = pmark("what a model was trained for", "painting by a prompt alone")

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        if not self.transformer.config.guidance_embeds:
            self.max_tokens = SCHNELL_MAX_TOKENS

    def condition(self, image: torch.Tensor, references: Sequence[torch.Tensor]) -> torch.Tensor:
        return pack(image)[:, :0]  # no tokens follow those of the latents

    @torch.inference_mode()
    def control(
        self, network: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec
    ) -> ControlNetConditioning:
        return controlnet.condition(network, self.transformer, control, request, codec, self.spec.label)

    def controlled(
        self,
        samples: Sequence[DenoisingState],
        tokens: torch.Tensor,
        times: torch.Tensor,
        arguments: Mapping[str, Any],
    ) -> dict[str, Any]:
        return controlnet.block_samples(self.transformer, samples, tokens, times, arguments)
