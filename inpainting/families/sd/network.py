"""Stable Diffusion 1 and 2: a UNet on latents of 4 channels, and one text encoder. SDXL builds on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch

from inpainting.catalog.inspection.formats.checkpoint_file import INPAINTING_CHANNELS
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.row_parts import predict_in_parts
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning import controlnet, ip_adapter
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, RequestedControl
from inpainting.engines.diffusion.conditioning.prompt_encoding import (
    MAX_CHUNKS,
    PromptChunks,
    PromptEmbedding,
    VectorPositions,
    encode_chunks,
    split_into_chunks,
)
from inpainting.engines.diffusion.conditioning.prompt_weights import parse_weights
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning, TokenizedPrompts, too_long
from inpainting.engines.diffusion.conditioning.textual_inversion import (
    Embedding,
    EmbeddingVectors,
    embedding_vectors,
    placeholder,
    replace_embeddings,
)
from inpainting.engines.diffusion.inpaint_patch import is_patched
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.engines.diffusion.sampling.sample_inputs import SampleInputs
from inpainting.engines.diffusion.sampling.schedule import Schedule

ZERO_SNR_GUIDANCE_RESCALE = 0.7
"""For models with zero terminal SNR (Lin et al. 2023, arXiv 2305.08891, section 3.4)."""
RESCALED = sentence(
    "guidance_rescale was {value}, the default of models whose noise schedule ends in pure noise; 0 turns it off.",
    value=ZERO_SNR_GUIDANCE_RESCALE,
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChunkedPrompts(TokenizedPrompts):
    """The prompts as chunks for each text encoder."""

    positive: Sequence[PromptChunks]
    negative: Sequence[PromptChunks] | None
    """None where there is no guidance."""
    least_chunks: int = 1

    @property
    def chunk_count(self) -> int:
        """The number of chunks of the longest prompt; shorter prompts are padded with empty chunks."""
        return max(self.least_chunks, *(len(chunks.tokens) for chunks in (*self.positive, *(self.negative or ()))))

    def padded_to(self, chunk_count: int) -> Self:
        return replace(self, least_chunks=chunk_count)


class StableDiffusion(LatentModel):
    """A loaded model of the family sd. Only the device's thread uses it."""

    splits_rows = True

    @property
    def is_inpainting(self) -> bool:
        """Whether the UNet takes the mask and the masked image too (9 channels)."""
        return bool(self.unet.config.in_channels == INPAINTING_CHANNELS)

    @property
    def restores_kept_part(self) -> bool:
        """Whether the source's latents are restored where the mask keeps: not by a UNet trained for inpainting.

        Fooocus and ComfyUI restore them with Fooocus' inpaint patch too.
        """
        return not self.is_inpainting or is_patched(self.unet)

    @property
    def is_guidance_distilled(self) -> bool:
        """Whether the UNet takes the guidance scale as an input (Meng et al. 2023, arXiv 2210.03142)."""
        return self.unet.config.time_cond_proj_dim is not None

    @property
    def ends_in_noise(self) -> bool:
        """Whether the model was trained with zero terminal SNR."""
        return bool(self.scheduler_config.get("rescale_betas_zero_snr"))

    def is_guided(self, settings: PaintSettings) -> bool:
        """Whether classifier-free guidance is applied: not at a scale of 1, nor by a guidance-distilled UNet."""
        return self.guidance(settings) > 1 and not self.is_guidance_distilled

    def rows_for(self, settings: PaintSettings) -> int:
        """Rows of a step batch that an image takes at most: fewer in steps without guidance."""
        return 2 if self.is_guided(settings) else 1

    # Tokenise

    @property
    def encoders(self) -> list[tuple[Any, Any]]:
        """Each tokenizer with its text encoder."""
        return [(self.pipeline.tokenizer, self.pipeline.text_encoder)]

    def embedding_vectors(self, embeddings: Sequence[Embedding]) -> tuple[EmbeddingVectors, ...]:
        return embedding_vectors(embeddings, [encoder for _, encoder in self.encoders], self.spec.label)

    def tokenize(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> ChunkedPrompts:
        positive, notes = self._tokenize("prompt", settings.prompt, vectors)
        negative = None
        if self.is_guided(settings):
            negative, more = self._tokenize("negative_prompt", settings.negative_prompt, vectors)
            notes += more
        # The same embeddings for every text encoder.
        used = positive[0].embeddings | (negative[0].embeddings if negative else frozenset())
        ignored_embeddings = tuple(
            sentence(
                "The embedding {name} is not used: “{words}” is in no prompt that the model reads.",
                name=slug,
                words=placeholder(slug),
            )
            for slug in settings.embeddings
            if slug not in used
        )
        notes += self._ignored(settings)
        return ChunkedPrompts(
            notes=tuple(notes), ignored_embeddings=ignored_embeddings, positive=positive, negative=negative
        )

    def _tokenize(
        self, field: str, prompt: str, vectors: Sequence[EmbeddingVectors]
    ) -> tuple[list[PromptChunks], list[str]]:
        """Return one prompt for each text encoder, and notes about what of it the model does not read."""
        spans, notes = parse_weights(prompt)
        vectors = vectors or [{} for _ in self.encoders]
        chunks = [
            split_into_chunks(spans, tokenizer, own) for (tokenizer, _), own in zip(self.encoders, vectors, strict=True)
        ]
        ignored = chunks[0].ignored
        if not ignored:
            return chunks, [*notes]
        tokens = MAX_CHUNKS * (self.encoders[0][0].model_max_length - 2)
        return chunks, [*notes, too_long(field, tokens, ignored)]

    def _ignored(self, settings: PaintSettings) -> Iterator[str]:
        """Yield notes about settings that have no effect."""
        if self.is_guidance_distilled:
            if settings.negative_prompt:
                yield sentence("This model was distilled with its guidance: the negative prompt was not read.")
            if settings.guidance_start or settings.guidance_end not in (None, 1):
                yield sentence(
                    "This model was distilled with its guidance: guidance_start and guidance_end changed nothing."
                )
            if settings.guidance_rescale:
                yield sentence("This model was distilled with its guidance: guidance_rescale changed nothing.")

    # Encode

    @torch.inference_mode()
    def encode_prompts(self, prompts: ChunkedPrompts, settings: PaintSettings, size: Size) -> TextConditioning:
        """Encode both prompts. `clip_skip` is for the prompt alone, as in diffusers' pipelines."""
        skipped = (settings.clip_skip or 1) - 1 or None  # diffusers counts the layers that are skipped
        positive = self._encode(prompts.positive, prompts.chunk_count, skipped)
        negative = None
        if prompts.negative is not None:
            negative = self._encode(prompts.negative, prompts.chunk_count, None)
        text = self.text_conditioning(positive, negative, settings, size)
        if not self.is_guidance_distilled:
            return text
        scale, width = torch.tensor([self.guidance(settings) - 1]), self.unet.config.time_cond_proj_dim
        embedding = self.pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
        return replace(text, guidance_embedding=embedding.to(self.hardware.device))

    def text_conditioning(
        self, positive: PromptEmbedding, negative: PromptEmbedding | None, settings: PaintSettings, size: Size
    ) -> TextConditioning:
        if negative is None:
            return TextConditioning(positive.embeds)
        return TextConditioning(torch.cat([negative.embeds, positive.embeds]))

    def _encode(self, prompt: Sequence[PromptChunks], count: int, skipped: int | None) -> PromptEmbedding:
        """Return the text encoders' embeddings of a prompt, side by side; those of textual inversions are not kept."""
        words = tuple(chunks.words for chunks in prompt)
        if any(text is None for text in words):
            return self._encode_now(prompt, count, skipped)
        return self.encoded_once((words, count, skipped), lambda: self._encode_now(prompt, count, skipped))

    def _encode_now(self, prompt: Sequence[PromptChunks], count: int, skipped: int | None) -> PromptEmbedding:
        embeddings = [
            encode_chunks(chunks, count, tokenizer, partial(self.run_text_encoder, encoder, skipped))
            for chunks, (tokenizer, encoder) in zip(prompt, self.encoders, strict=True)
        ]
        embeds = torch.cat([embedding.embeds for embedding in embeddings], -1)
        return PromptEmbedding(embeds, torch.cat([embedding.pooled for embedding in embeddings], -1))

    def run_text_encoder(
        self, encoder: Any, skipped: int | None, ids: torch.Tensor, positions: VectorPositions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run an encoder as `prompt_encoding.RunEncoder` describes.

        skipped: number of last layers that are not run, None for none.
        """
        with replace_embeddings(encoder, positions):
            output = encoder(ids.to(self.hardware.device), output_hidden_states=skipped is not None)
        if skipped is None:
            embeds = output[0]
        else:
            embeds = encoder.text_model.final_layer_norm(output.hidden_states[-(skipped + 1)])
        return embeds, embeds.new_empty(len(ids), 0)

    # Start

    def control(
        self, network: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec
    ) -> ControlNetConditioning:
        controlnet.check_fits(network, self.unet, control.spec, self.spec.label, control.use)
        return controlnet.condition(network, control, request, self.hardware.device)

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """See `LatentModel.start`. The window's sides are multiples of 8."""
        settings, codec = request.settings, codec or self.codec()
        inputs = SampleInputs.of(request, index, self.hardware.device)
        schedule, notes = self._schedule(settings)
        latents, noise, image = self._first_latents(settings, inputs, codec, schedule)
        masked_image = None
        if self.is_inpainting:
            masked = inputs.pixels * (inputs.pixel_mask < 0.5)
            masked_image = codec.encode(masked, inputs.generator, inputs.masked_key)
            if not inputs.is_grey and not self.restores_kept_part:
                image = None
            elif image is None:
                image = codec.encode(inputs.pixels, inputs.generator, inputs.key)
        elif codec.samples_latents:
            # diffusers encodes the masked image here too, and does not use it.
            self.draw_noise(inputs.latent_size, inputs.generator)
        guided = schedulers.steps_within(len(schedule), settings.guidance_start, settings.guidance_end)
        if self.is_guided(settings) and not guided:
            notes = (*notes, schedulers.NONE_GUIDED)
        rescale = settings.guidance_rescale
        if rescale is None:
            rescale = ZERO_SNR_GUIDANCE_RESCALE if self.ends_in_noise else 0.0
            if rescale and guided and self.is_guided(settings):
                notes = (*notes, RESCALED)
        state = DenoisingState(
            latents=latents,
            text=text,
            guidance=self.guidance(settings),
            schedule=schedule,
            mask=inputs.mask,
            masked_image=masked_image,
            image=image,
            noise=noise,
            generator=inputs.generator,
            guided=guided,
            guidance_rescale=rescale,
            restores_kept_part=self.restores_kept_part,
        )
        return state, notes

    def _schedule(self, settings: PaintSettings) -> tuple[Schedule, tuple[str, ...]]:
        scheduler, notes = schedulers.make(
            settings.scheduler or self.spec.scheduler,
            self.scheduler_config,
            karras=settings.use_karras_sigmas,
            algorithm_type=settings.algorithm_type,
            is_trailing=self.loras.need_trailing_timesteps,
        )
        steps, max_steps = settings.steps or self.spec.steps, schedulers.max_steps(scheduler)
        if steps > max_steps:
            note = sentence(
                "The request has {steps} steps; {scheduler} takes at most {most}.",
                steps=steps,
                scheduler=type(scheduler).__name__,
                most=max_steps,
            )
            notes = (*notes, note)
        timesteps = schedulers.begin(scheduler, min(steps, max_steps), self.spec.strength_of(settings))
        return Schedule(scheduler, timesteps), notes

    def _first_latents(
        self,
        settings: PaintSettings,
        inputs: SampleInputs,
        codec: LatentCodec,
        schedule: Schedule,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the initial latents, their noise, and the source's latents if they were needed."""
        starts_from_image = self.spec.strength_of(settings) < 1
        image = None
        if starts_from_image or self.restores_kept_part:
            image = codec.encode(inputs.pixels, inputs.generator, inputs.key)
        noise = self.draw_noise(inputs.latent_size, inputs.generator)
        if starts_from_image and image is not None:
            first = inputs.first_image(
                image, settings.masked_content, lambda: self.draw_noise(inputs.latent_size, inputs.generator)
            )
            return schedule.noised(first, noise), noise, image
        return schedule.first_latents(noise), noise, image

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes. The samples' texts have equal numbers of chunks."""
        groups: dict[Any, list[DenoisingState]] = {}
        # They differ where an adapter's files were replaced, or one of several has a scale of 0.
        for sample in samples:
            groups.setdefault(sample.adapter_ids, []).append(sample)
        if len(groups) > 1:
            found = {
                id(sample): prediction
                for same in groups.values()
                for sample, prediction in zip(same, self.predict(same, backend), strict=True)
            }
            return [found[id(sample)] for sample in samples]
        group, dtype = group_of(samples), self.unet.dtype
        inputs, timesteps = group.model_input.to(dtype), group.timesteps
        embeds, conditions = group.once(("text", dtype), lambda: self._stacked_texts(samples))
        controls = [(sample.controls, sample.rows) for sample in samples]
        residuals = controlnet.residuals(controls, inputs, timesteps, embeds, conditions)
        image_prompts = [(sample.image_prompts, sample.rows) for sample in samples]
        with ip_adapter.with_image_prompts(self.unet, image_prompts, embeds) as hidden_states:
            arguments = {"encoder_hidden_states": hidden_states, **conditions, **residuals}
            # The scales of image prompts are those of all rows.
            is_plain = hidden_states is embeds
            size = self.rows_per_call if is_plain else None
            # Image prompts are layers of the UNet itself, and other backends read more of it than its output.
            unet = self.step_network if is_plain and backend is TORCH else self.unet
            if size is None:
                prediction = backend.predict(unet, inputs, timesteps, **arguments)
            else:
                prediction = predict_in_parts(backend, unet, inputs, timesteps, size, **arguments)
        return list(prediction.float().split([sample.rows for sample in samples]))

    def _stacked_texts(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return the texts of this step, and `conditions`."""
        texts = [sample.step_text for sample in samples]
        return torch.cat([text.embeds for text in texts]).to(self.unet.dtype), self.conditions(texts)

    def conditions(self, texts: Sequence[TextConditioning]) -> dict[str, Any]:
        """Return further keyword arguments of the UNet."""
        embeddings = [text.guidance_embedding for text in texts if text.guidance_embedding is not None]
        return {"timestep_cond": torch.cat(embeddings).to(self.unet.dtype)} if embeddings else {}
