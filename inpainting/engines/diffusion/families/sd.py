"""Stable Diffusion 1 and 2: a UNet on latents of 4 channels, one text encoder. SDXL builds on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import max_pool2d

from inpainting.catalog.inspection.model_files import INPAINTING_CHANNELS
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.conditioning import controlnet, ip_adapter
from inpainting.engines.diffusion.conditioning.prompt_encoding import (
    MAX_CHUNKS,
    Places,
    PromptChunks,
    PromptEmbedding,
    cut,
    hear,
)
from inpainting.engines.diffusion.conditioning.prompt_weights import spans_of
from inpainting.engines.diffusion.conditioning.textual_inversion import (
    EmbeddingVectors,
    load_embedding_vectors,
    placed,
    placeholder_of,
)
from inpainting.engines.diffusion.denoising import DenoisingState, TextConditioning
from inpainting.engines.diffusion.families.base import LatentModel, to_tensor
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

DISTILLED = "This model was distilled with its guidance:"


class StableDiffusion(LatentModel):
    """A loaded model. Used by one thread alone: the one that owns the device.

    pipeline: any diffusers pipeline of the family; it lends its parts, and nothing of a generation is kept on it.
    """

    @property
    def is_inpainting(self) -> bool:
        """Whether its UNet is shown the mask and the picture around it (9 channels)."""
        return bool(self.unet.config.in_channels == INPAINTING_CHANNELS)

    # Encode

    def is_guided(self, settings: PaintSettings) -> bool:
        """Whether a negative prompt is heard: not at a guidance of 1, nor by a UNet distilled with guidance."""
        return self.guidance(settings) > 1 and self.unet.config.time_cond_proj_dim is None

    def rows_for(self, settings: PaintSettings) -> int:
        """How many rows of the UNet's batch a picture takes at most: fewer in steps without guidance."""
        return 2 if self.is_guided(settings) else 1

    @torch.inference_mode()
    def read(
        self, settings: PaintSettings, size: Size, vectors: Sequence[EmbeddingVectors] = ()
    ) -> tuple[TextConditioning, tuple[str, ...]]:
        """What the UNet hears of a request painted at `size`, and sentences about words that it does not hear.

        vectors: what its embeddings give each text encoder; none where it has none.
        """
        text = self.encode_text(settings, size, vectors)
        if self.unet.config.time_cond_proj_dim is not None:
            scale = torch.tensor([self.guidance(settings) - 1])
            width = self.unet.config.time_cond_proj_dim
            condition = self.pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
            text = replace(text, time_condition=condition.to(self.hardware.device))
        return text, tuple(self._unread(settings, vectors))

    def encode_text(
        self, settings: PaintSettings, size: Size, vectors: Sequence[EmbeddingVectors] = ()
    ) -> TextConditioning:
        positive, negative = self.hear(settings, vectors)
        if negative is None:
            return TextConditioning(positive.embeds)
        return TextConditioning(torch.cat([negative.embeds, positive.embeds]))

    def hear(
        self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()
    ) -> tuple[PromptEmbedding, PromptEmbedding | None]:
        """What the encoders say to the prompt, and where it is heard to the negative one, in as many chunks.

        `clip_skip` is for the prompt alone, as in diffusers' pipelines.
        """
        count = self.count_chunks(settings, vectors)
        positive = self._hear(settings.prompt, vectors, count, layers_left_out(settings))
        if not self.is_guided(settings):
            return positive, None
        return positive, self._hear(settings.negative_prompt, vectors, count, None)

    def _hear(
        self, words: str, vectors: Sequence[EmbeddingVectors], count: int, left_out: int | None
    ) -> PromptEmbedding:
        said = [
            hear(chunks, count, tokenizer, partial(self.listen, encoder, left_out))
            for chunks, (tokenizer, encoder) in zip(self._cut(words, vectors), self.encoders, strict=True)
        ]
        return PromptEmbedding(torch.cat([one.embeds for one in said], -1), torch.cat([one.pooled for one in said], -1))

    def _cut(self, words: str, vectors: Sequence[EmbeddingVectors]) -> list[PromptChunks]:
        """For each encoder."""
        spans, _ = spans_of(words)
        each = vectors or [{} for _ in self.encoders]
        return [cut(spans, tokenizer, own) for (tokenizer, _), own in zip(self.encoders, each, strict=True)]

    def count_chunks(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> int:
        """How many chunks of words the UNet hears: as many as the longer of what it hears takes."""
        texts = [settings.prompt, *([settings.negative_prompt] if self.is_guided(settings) else [])]
        return max(chunks.count for words in texts for chunks in self._cut(words, vectors))

    def load_embeddings(self, embeddings: Sequence[ModelSpec]) -> tuple[EmbeddingVectors, ...]:
        """For `read`. Raises EngineFailed: `part_unavailable`, `part_refused`, `part_unfit`."""
        return load_embedding_vectors(embeddings, [encoder for _, encoder in self.encoders], self.spec.label)

    @property
    def encoders(self) -> list[tuple[Any, Any]]:
        """Each tokenizer with its text encoder."""
        return [(self.pipeline.tokenizer, self.pipeline.text_encoder)]

    def listen(
        self, encoder: Any, left_out: int | None, ids: torch.Tensor, places: Places
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `reading.Listen`. left_out: how many of its last layers are not run, None for none."""
        with placed(encoder, places):
            said = encoder(ids.to(self.hardware.device), output_hidden_states=left_out is not None)
        if left_out is None:
            embeds = said[0]
        else:
            embeds = encoder.text_model.final_layer_norm(said.hidden_states[-(left_out + 1)])
        return embeds, embeds.new_empty(len(ids), 0)

    def _unread(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors]) -> Iterator[str]:
        """Sentences about words that the UNet does not hear, or not as they were meant."""
        used: set[str] = set()
        most = MAX_CHUNKS * (self.encoders[0][0].model_max_length - 2)
        for name in ("prompt", *(["negative_prompt"] if self.is_guided(settings) else [])):
            words: str = getattr(settings, name)
            yield from spans_of(words)[1]
            chunks = self._cut(words, vectors)[0]
            used |= chunks.embeddings
            if chunks.unread:
                yield (f"The {name} is longer than the model reads ({most} tokens); not read: “{chunks.unread[:200]}”.")
        if self.unet.config.time_cond_proj_dim is not None:
            if settings.negative_prompt:
                yield f"{DISTILLED} the negative prompt was not heard."
            if settings.guidance_start or settings.guidance_end not in (None, 1):
                yield f"{DISTILLED} guidance_start and guidance_end changed nothing."
        for slug in settings.embeddings:
            if slug not in used:
                placeholder = placeholder_of(slug)
                yield f"The embedding {slug} is not used: “{placeholder}” is in no prompt that the model reads."

    # Start

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """The beginning of picture `index` of a request whose image is the window: its sides are multiples of 8.

        Draws from the generator in the order of diffusers' inpainting pipelines, so that the same seed gives the same
        picture. A latent pixel is repainted if any of its 64 pixels is: a scratch is thinner than a latent pixel.
        Also returns sentences about what runs otherwise than asked.
        """
        settings = request.settings
        scheduler, notes = schedulers.make(
            settings.scheduler or self.spec.scheduler,
            self.scheduler_config,
            karras=settings.use_karras_sigmas,
            algorithm_type=settings.algorithm_type,
            is_trailing=self.loras.want_trailing_steps,
        )
        steps, most = settings.steps or self.spec.steps, schedulers.max_steps(scheduler)
        if steps > most:
            notes = (*notes, f"{steps} steps were asked for; {type(scheduler).__name__} takes at most {most}.")
        timesteps = schedulers.begin(scheduler, min(steps, most), settings.strength)
        generator = torch.Generator().manual_seed((settings.seed + index) % 2**63)
        pixels = to_tensor(request.image.pixels)
        marked = torch.from_numpy(request.mask.astype(np.float32) / 255)[None, None]
        mask = max_pool2d(marked, VAE_SCALE_FACTOR).to(self.hardware.device)
        cells = (mask.shape[-2], mask.shape[-1])

        starts_from_picture = settings.strength < 1
        image = None
        if starts_from_picture or not self.is_inpainting:
            image = self.encode_image(pixels, generator)
        noise = self.draw(cells, generator)
        if starts_from_picture and image is not None:
            latents = scheduler.add_noise(image, noise, timesteps[:1])
        else:
            latents = noise * scheduler.init_noise_sigma
        if self.is_inpainting:
            masked_image = self.encode_image(pixels * (marked < 0.5), generator)
            is_grey = bool(((mask > 0) & (mask < 1)).any())
            if not is_grey:
                image = None
            elif image is None:
                image = self.encode_image(pixels, generator)
        else:
            masked_image = None
            if self.draws_latents:
                self.draw(cells, generator)  # diffusers encodes the masked picture here too, and does not look at it
        guided = schedulers.steps_within(len(timesteps), settings.guidance_start, settings.guidance_end)
        if self.is_guided(settings) and not guided:
            notes = (*notes, "No step lies between guidance_start and guidance_end: none was guided.")
        denoising = DenoisingState(
            latents=latents,
            text=text,
            guidance=self.guidance(settings),
            scheduler=scheduler,
            timesteps=timesteps,
            mask=mask,
            masked_image=masked_image,
            image=image,
            noise=noise,
            step_arguments=schedulers.step_arguments(scheduler, generator),
            guided=guided,
        )
        return denoising, notes

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState]) -> list[torch.Tensor]:
        """One call of the UNet for all of them, each at its own time: what each wants for `advance`, in float32.

        They hear texts of one length: `count_chunks` is the same for all.
        """
        if len({one.networks for one in samples}) > 1:  # a part's files were replaced while some are painted
            return [answer for one in samples for answer in self.predict([one])]
        device, dtype = self.hardware.device, self.unet.dtype
        texts = [one.heard for one in samples]
        inputs = torch.cat([one.model_input() for one in samples]).to(dtype)
        times = torch.cat([one.time for one in samples]).to(device)
        hears = torch.cat([text.embeds for text in texts]).to(dtype)
        told = self.conditions(texts)
        led = controlnet.residuals([one.control for one in samples], inputs, times, hears, told)
        unet = self.unet if self.compiled is None else partial(self.compiled.predict, self.unet)
        with ip_adapter.heard(self.unet, [(one.image_prompt, one.rows) for one in samples], hears) as heard:
            answer = unet(inputs, times, encoder_hidden_states=heard, return_dict=False, **told, **led)[0]
        return list(answer.float().split([one.rows for one in samples]))

    def conditions(self, texts: Sequence[TextConditioning]) -> dict[str, Any]:
        """What else the UNet is told."""
        times = [text.time_condition for text in texts if text.time_condition is not None]
        return {"timestep_cond": torch.cat(times).to(self.unet.dtype)} if times else {}


def layers_left_out(settings: PaintSettings) -> int | None:
    """`clip_skip` as diffusers counts it: how many layers are skipped, None for none."""
    return (settings.clip_skip or 1) - 1 or None
