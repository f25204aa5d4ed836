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
from inpainting.families.flux.network import Flux, FluxState

REFERENCE_SEEN = "The model looked at the reference image in place of the image."


class FluxKontext(Flux):
    """A loaded model of the family flux-kontext.

    The tokens of the source image follow those of the latents; those of a reference image take their place, as in
    `FluxKontextInpaintPipeline`. It was not trained for masks: kept parts are restored in
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
        codec = codec or self.codec()
        begun = self.begin(request, index, codec)
        references = encode_references(request, codec, fit_reference)
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
            references=references,
            condition=pack(references[0] if references else begun.image),
        )
        return state, (*begun.notes, REFERENCE_SEEN) if references else begun.notes

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
