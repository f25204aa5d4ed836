"""FLUX.1 Fill: a transformer trained by flow matching, that is shown the mask and what is kept of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import max_pool2d, pixel_unshuffle

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.conditioning.prompt_weights import spans_of
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.denoising import DenoisingState, TextConditioning
from inpainting.engines.diffusion.families.base import LatentModel, to_tensor
from inpainting.engines.diffusion.flow import FlowDenoisingState
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.latents import PATCH_SIZE, VAE_SCALE_FACTOR

TOKENS = 512
"""Of the prompt, that the larger text encoder reads."""


WEIGHTS_UNREAD = "This model reads no weights: they stand in its prompt as words and numbers."


class FluxFill(LatentModel):
    """A transformer instead of a UNet. Distilled with guidance: one row a picture, and no negative prompt."""

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        self.transformer = pipeline.transformer
        seen, wanted = (
            self.transformer.config.in_channels,
            2 * PATCH_SIZE**2 * self.channels + PATCH_SIZE**2 * VAE_SCALE_FACTOR**2,
        )
        if seen != wanted:
            raise EngineFailed(
                f"{spec.label} was not trained for filling: its transformer takes {seen} channels, not {wanted}.",
                code="model_refused",
            )

    @property
    def channels(self) -> int:
        """Of a latent pixel."""
        return int(self.vae.config.latent_channels)

    def rows_for(self, settings: PaintSettings) -> int:
        return 1

    # Encode

    @torch.inference_mode()
    def read(
        self, settings: PaintSettings, size: Size, vectors: Sequence[EmbeddingVectors] = ()
    ) -> tuple[TextConditioning, tuple[str, ...]]:
        """embeds: [1, 512, features], of the larger encoder. pooled: [1, features], of CLIP, which reads 77 tokens."""
        embeds, pooled, _ = self.pipeline.encode_prompt(
            settings.prompt, device=self.hardware.device, max_sequence_length=TOKENS
        )
        is_weighted = any(span.weight != 1 for span in spans_of(settings.prompt)[0])
        notes = [WEIGHTS_UNREAD] if is_weighted else []
        tokenizer = self.pipeline.tokenizer_2
        tokens = tokenizer(settings.prompt, truncation=False, verbose=False).input_ids
        if len(tokens) <= TOKENS:
            return TextConditioning(embeds, pooled), tuple(notes)
        rest = str(tokenizer.decode(tokens[TOKENS - 1 : -1])).strip()
        note = f"The prompt is longer than the model reads ({TOKENS - 1} tokens); not read: “{rest[:200]}”."
        return TextConditioning(embeds, pooled), (*notes, note)

    # Start

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """The beginning of picture `index` of a request whose image is the window: its sides are multiples of 16.

        Draws from the generator in the order of `FluxFillPipeline`, so that the same seed gives the same picture. The
        model is shown the mask pixel by pixel; grey of half and more is to be repainted.
        Also returns sentences about what runs otherwise than asked.
        """
        settings, device = request.settings, self.hardware.device
        scheduler, notes = flow_schedulers.make(settings.scheduler or self.spec.scheduler, self.scheduler_config)
        height, width = request.mask.shape
        timesteps = flow_schedulers.begin(
            scheduler,
            self.scheduler_config,
            steps=settings.steps or self.spec.steps,
            strength=settings.strength,
            patches=(height // VAE_SCALE_FACTOR // PATCH_SIZE) * (width // VAE_SCALE_FACTOR // PATCH_SIZE),
        )
        generator = torch.Generator().manual_seed((settings.seed + index) % 2**63)
        pixels = to_tensor(request.image.pixels)
        marked = torch.from_numpy(request.mask.astype(np.float32) / 255)[None, None]
        repainted = (marked >= 0.5).float()
        mask = max_pool2d(marked, VAE_SCALE_FACTOR).to(device)

        image = self.encode_image(pixels, generator)
        noise = self.draw((mask.shape[-2], mask.shape[-1]), generator)
        masked_image = self.encode_image(pixels * (1 - repainted), generator)
        denoising = FlowDenoisingState(
            latents=image,
            text=text,
            guidance=self.guidance(settings),
            scheduler=scheduler,
            timesteps=timesteps,
            mask=mask,
            masked_image=masked_image,
            image=image if bool(((mask > 0) & (mask < 1)).any()) else None,
            noise=noise,
            step_arguments={},
            marked=pixel_unshuffle(repainted, VAE_SCALE_FACTOR).to(device),
        )
        denoising.latents = denoising.noised(image)
        return denoising, notes

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState]) -> list[torch.Tensor]:
        """One call of the transformer for all of them, which are of one size, each at its own time and guidance."""
        device, dtype = self.hardware.device, self.transformer.dtype
        texts = [one.text for one in samples]
        embeds = torch.cat([text.embeds for text in texts]).to(dtype)
        answer = self.transformer(
            hidden_states=torch.cat([one.model_input() for one in samples]).to(dtype),
            timestep=torch.cat([one.time for one in samples]).to(device) / 1000,
            guidance=self.heard_guidance(samples),
            pooled_projections=torch.cat([text.pooled for text in texts if text.pooled is not None]).to(dtype),
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(embeds.shape[1], 3, device=device, dtype=dtype),
            img_ids=places(samples[0].latents, dtype),
            return_dict=False,
        )[0]
        return list(answer.float().split(1))

    def heard_guidance(self, samples: Sequence[DenoisingState]) -> torch.Tensor | None:
        """[rows]; None for a transformer that was not distilled with guidance, and hears none."""
        if not self.transformer.config.guidance_embeds:
            return None
        return torch.tensor([one.guidance for one in samples], device=self.hardware.device)


def places(latents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """[h * w / 4, 3], where each patch of [1, c, h, w] lies: nothing, its row, its column."""
    rows, columns = latents.shape[-2] // PATCH_SIZE, latents.shape[-1] // PATCH_SIZE
    grid = torch.zeros(rows, columns, 3)
    grid[..., 1], grid[..., 2] = torch.arange(rows)[:, None], torch.arange(columns)[None]
    return grid.reshape(-1, 3).to(latents.device, dtype)
