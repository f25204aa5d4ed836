"""FLUX.1 Kontext: a transformer that edits an image by instructions, and takes it as further tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.pipelines.flux.pipeline_flux_kontext_inpaint import PREFERRED_KONTEXT_RESOLUTIONS as SIZES
from PIL import Image

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.reference_images import encode_references
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.families.flux.network import UnmaskedFlux

REFERENCE_SEEN = "The model looked at the reference image in place of the image."


class FluxKontext(UnmaskedFlux):
    """A loaded model of the family flux-kontext.

    The tokens of the source image follow those of the latents; those of a reference image take their place, as in
    `FluxKontextInpaintPipeline`.
    """

    trained_for: ClassVar[str] = "editing"
    samples_image = False

    def references(self, request: InpaintRequest, codec: LatentCodec) -> tuple[torch.Tensor, ...]:
        return encode_references(request, codec, fit_reference)

    def condition(self, image: torch.Tensor, references: Sequence[torch.Tensor]) -> torch.Tensor:
        return pack(references[0] if references else image)

    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        state, notes = super().start(request, index, text, codec)
        return state, (*notes, REFERENCE_SEEN) if state.references else notes

    def _constants(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, dict[str, Any]]:
        condition, arguments = super()._constants(samples)
        # The image that it sees is image 1, at the places of image 0, which is painted.
        seen = samples[0].references[0] if samples[0].references else samples[0].latents
        places = self.token_places(*(side // PATCH_SIZE for side in seen.shape[-2:])) + torch.tensor([1.0, 0.0, 0.0])
        painted = arguments["img_ids"]
        return condition, {**arguments, "img_ids": torch.cat([painted, places.to(painted)])}


def fit_reference(image: Image.Image) -> Image.Image:
    """Return a reference image at the size nearest to its shape of those that the model was trained on."""
    _, *size = min((abs(image.width / image.height - width / height), width, height) for width, height in SIZES)
    width, height = size
    return image.resize((width, height), Image.Resampling.LANCZOS)
