"""FLUX.2 [klein]: a transformer that edits an image by instructions, and takes it as further tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxFillPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image
from torch.nn.functional import pixel_shuffle

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.reference_images import (
    encode_references,
    limit_area,
    seen_images,
    seen_tokens,
)
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE, VAE_SCALE_FACTOR
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.engines.diffusion.vae_formats import latent_channels
from inpainting.families.z_image.network import MAX_TOKENS, ZImage
from inpainting.networks.device.hardware import Hardware

TEXT_LAYERS = (9, 18, 27)
"""The layers of the text encoder whose outputs are the features of a token, as `Flux2KleinPipeline` has them."""
REFERENCE_TIME = 10
"""The time of the source image's tokens, and how much later those of each reference image are; that of the tokens that
are painted is 0."""
MAX_REFERENCE_AREA = 1024 * 1024
"""Pixels of a reference image that the model sees, as in `Flux2KleinPipeline`."""

DISTILLED = sentence("This model is distilled: guidance_scale and negative_prompt were not read.")


class Flux2Klein(ZImage):
    """A loaded model of the family flux2-klein: guidance and start of Z-Image, with other networks and schedule.

    The tokens of the source image follow those of the latents, then those of the reference images. It was not trained
    for masks: kept parts are restored in each step. A distilled model takes no guidance.
    """

    samples_image = False
    after: ClassVar[str] = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    """The template ends with an empty thought, as with `enable_thinking=False`."""

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        self.is_distilled = bool(pipeline.config.get("is_distilled"))

    def shift(self, config: Mapping[str, Any], patches: int, steps: int) -> float:
        """Return the shift of `Flux2KleinPipeline`, which depends on the number of steps too."""
        return float(compute_empirical_mu(patches, steps))

    def is_guided(self, settings: PaintSettings) -> bool:
        return not self.is_distilled and super().is_guided(settings)

    def _encode(self, ids: list[int]) -> torch.Tensor:
        """Return [512, features] by TEXT_LAYERS, concatenated. The transformer takes those of the padding too."""
        given = self.pipeline.tokenizer.pad(
            {"input_ids": [ids]}, padding="max_length", max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.hardware.device)
        encoded = self.pipeline.text_encoder(**given, output_hidden_states=True, use_cache=False, logits_to_keep=1)
        return torch.cat([encoded.hidden_states[layer][0] for layer in TEXT_LAYERS], dim=-1)

    def draw_noise(self, latent_size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        """Draw the noise of the patches, [1, 4 * c, h / 2, w / 2], as that of the latents, [1, c, h, w]."""
        height, width = latent_size
        shape = (1, PATCH_SIZE**2 * latent_channels(self.vae), height // PATCH_SIZE, width // PATCH_SIZE)
        return pixel_shuffle(torch.randn(shape, generator=generator), PATCH_SIZE).to(self.hardware.device)

    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """Start an image as `LatentModel.start` describes. The window's sides are multiples of 16."""
        codec = codec or self.codec()
        state, notes = super().start(request, index, text, codec)
        state.references = encode_references(request, codec, fit_reference)
        if self.is_distilled and self.guidance(request.settings) > 1:
            notes = (*notes, DISTILLED)
        return state, notes

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        condition, embeds, arguments = group.once(("constants", dtype), lambda: self._constants(samples))
        latents, times = pack(group.model_input).to(dtype), group.timesteps / 1000
        count = latents.shape[1]
        tokens = torch.cat([latents, condition], dim=1)
        answers = [
            self.step_network(
                hidden_states=tokens[part],
                timestep=times[part],
                encoder_hidden_states=embeds[part],
                return_dict=False,
                **arguments,
            )[0][:, :count]
            for part in self.parts_of(len(tokens))
        ]
        size = samples[0].latents.shape[-2:]
        velocity = FluxFillPipeline._unpack_latents(torch.cat(answers).float(), *size, vae_scale_factor=1)
        return list(velocity.split([sample.rows for sample in samples]))

    def _constants(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Return what stays the same of these images in each step.

        The tokens of their source and reference images, [rows, tokens, channels], their texts, [rows, 512, features],
        and further keyword arguments of the transformer.
        """
        device, dtype = self.hardware.device, self.transformer.dtype
        embeds = torch.cat([sample.step_text.embeds for sample in samples])
        latents = [samples[0].latents, *seen_images(samples[0])]  # those of the others have the same shapes
        places = [
            token_places(number * REFERENCE_TIME, *(side // PATCH_SIZE for side in image.shape[-2:]), count=1)
            for number, image in enumerate(latents)
        ]
        return (
            seen_tokens(samples).to(dtype),
            embeds.to(dtype),
            {
                "guidance": None,  # no klein embeds it
                "img_ids": torch.cat(places).to(device),
                "txt_ids": token_places(0, 1, 1, count=embeds.shape[1]).to(device),
            },
        )


def fit_reference(image: Image.Image) -> Image.Image:
    """Return a reference image as the model sees it."""
    return limit_area(image, MAX_REFERENCE_AREA, PATCH_SIZE * VAE_SCALE_FACTOR)


def token_places(time: int, rows: int, columns: int, *, count: int) -> torch.Tensor:
    """Return [rows * columns * count, 4]: time, row, column and number of each token."""
    return torch.cartesian_prod(torch.tensor([time]), *map(torch.arange, (rows, columns, count)))
