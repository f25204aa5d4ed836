"""FLUX.1 Kontext: a transformer that edits an image by instructions, and takes it as further tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.pipelines.flux.pipeline_flux_kontext_inpaint import PREFERRED_KONTEXT_RESOLUTIONS as SIZES
from PIL import Image

from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import pmark, sentence
from inpainting.engines.diffusion.conditioning.reference_images import encode_references
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.families.flux.network import UnmaskedFlux

REFERENCES_SEEN = sentence("The model looked at the reference images in place of the image.")


class FluxKontext(UnmaskedFlux):
    """A loaded model of the family flux-kontext.

    The tokens of the source image follow those of the latents; those of the reference images take their place, as in
    `FluxKontextInpaintPipeline`, which takes one.
    """

    trained_for: ClassVar[str] = pmark("what a model was trained for", "editing")
    samples_image = False

    def references(self, request: InpaintRequest, codec: LatentCodec) -> tuple[torch.Tensor, ...]:
        return encode_references(request, codec, fit_reference)

    def condition(self, image: torch.Tensor, references: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([pack(seen) for seen in references or [image]], dim=1)

    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        state, notes = super().start(request, index, text, codec)
        return state, (*notes, REFERENCES_SEEN) if state.references else notes

    def _constants(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, dict[str, Any]]:
        condition, arguments = super()._constants(samples)
        painted, places = arguments["img_ids"], self._seen_places(samples[0].references or [samples[0].latents])
        return condition, {**arguments, "img_ids": torch.cat([painted, places.to(painted)])}

    def _seen_places(self, seen: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return [tokens, 3] of the images that it sees. seen: their latents, [1, c, h, w] each.

        They are image 1, and the first is at the places of image 0, which is painted. Each further one is beside or
        below those before it, so that all stay near a square, as ComfyUI places them (`comfy/ldm/flux/model.py`).
        """
        places, height, width = [], 0, 0
        for image in seen:
            rows, columns = (side // PATCH_SIZE for side in image.shape[-2:])
            top, left = (0, width) if height + rows > width + columns else (height, 0)
            places.append(self.token_places(rows, columns) + torch.tensor([1.0, top, left]))
            height, width = max(height, top + rows), max(width, left + columns)
        return torch.cat(places)


def fit_reference(image: Image.Image) -> Image.Image:
    """Return a reference image at the size nearest to its shape of those that the model was trained on."""
    _, *size = min((abs(image.width / image.height - width / height), width, height) for width, height in SIZES)
    width, height = size
    return image.resize((width, height), Image.Resampling.LANCZOS)
