"""Stable Diffusion 1 and 2: a UNet on latents of 4 channels, one text encoder. SDXL builds on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch.nn.functional import max_pool2d

from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.catalog import ModelSpec
from inpainting.engines.diffusion import controls, image_prompts, schedulers
from inpainting.engines.diffusion.adapters import Adapters
from inpainting.engines.diffusion.denoising import Denoising, Text
from inpainting.engines.diffusion.embeddings import Vectors, mark_of, placed, read_vectors
from inpainting.engines.diffusion.engine import CELL
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.reading import MOST_CHUNKS, Chunks, Heard, Places, cut, hear
from inpainting.engines.diffusion.words import spans_of
from inpainting.engines.model_files import INPAINTING_CHANNELS


class StableDiffusion:
    """A loaded model. Used by one thread alone: the one that owns the device.

    pipeline: any diffusers pipeline of the family; it lends its parts, and nothing of a generation is kept on it.
    """

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        self.pipeline = pipeline
        self.hardware = hardware
        self.spec = spec
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self.adapters = Adapters(pipeline)
        self.scheduler_config: Mapping[str, Any] = pipeline.scheduler.config
        self.sacrifices: list[str] = []
        """What a short memory made us do, for the metadata of all that is painted from then on."""
        self._is_tiled = self._is_offloaded = False

    @property
    def is_inpainting(self) -> bool:
        """Whether its UNet is shown the mask and the picture around it (9 channels)."""
        return bool(self.unet.config.in_channels == INPAINTING_CHANNELS)

    @property
    def byte_count(self) -> int:
        """Bytes of all weights, those of its LoRAs among them."""
        return self._own_bytes + self.adapters.byte_count

    @cached_property
    def _own_bytes(self) -> int:
        parts = [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        whole = sum(tensor.nbytes for part in parts for tensor in (*part.parameters(), *part.buffers()))
        return whole - self.adapters.byte_count

    # Encode

    def guidance(self, settings: PaintSettings) -> float:
        return self.spec.guidance_scale if settings.guidance_scale is None else settings.guidance_scale

    def is_guided(self, settings: PaintSettings) -> bool:
        """Whether a negative prompt is heard: not at a guidance of 1, nor by a UNet distilled with guidance."""
        return self.guidance(settings) > 1 and self.unet.config.time_cond_proj_dim is None

    def rows_for(self, settings: PaintSettings) -> int:
        """How many rows of the UNet's batch a picture takes at most: fewer in steps without guidance."""
        return 2 if self.is_guided(settings) else 1

    @torch.inference_mode()
    def read(
        self, settings: PaintSettings, size: Size, vectors: Sequence[Vectors] = ()
    ) -> tuple[Text, tuple[str, ...]]:
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

    def encode_text(self, settings: PaintSettings, size: Size, vectors: Sequence[Vectors] = ()) -> Text:
        positive, negative = self.hear(settings, vectors)
        if negative is None:
            return Text(positive.embeds)
        return Text(torch.cat([negative.embeds, positive.embeds]))

    def hear(self, settings: PaintSettings, vectors: Sequence[Vectors] = ()) -> tuple[Heard, Heard | None]:
        """What the encoders say to the prompt, and where it is heard to the negative one, in as many chunks.

        `clip_skip` is for the prompt alone, as in diffusers' pipelines.
        """
        count = self.count_chunks(settings, vectors)
        positive = self._hear(settings.prompt, vectors, count, layers_left_out(settings))
        if not self.is_guided(settings):
            return positive, None
        return positive, self._hear(settings.negative_prompt, vectors, count, None)

    def _hear(self, words: str, vectors: Sequence[Vectors], count: int, left_out: int | None) -> Heard:
        said = [
            hear(chunks, count, tokenizer, partial(self.listen, encoder, left_out))
            for chunks, (tokenizer, encoder) in zip(self._cut(words, vectors), self.encoders, strict=True)
        ]
        return Heard(torch.cat([one.embeds for one in said], -1), torch.cat([one.pooled for one in said], -1))

    def _cut(self, words: str, vectors: Sequence[Vectors]) -> list[Chunks]:
        """For each encoder."""
        spans, _ = spans_of(words)
        each = vectors or [{} for _ in self.encoders]
        return [cut(spans, tokenizer, own) for (tokenizer, _), own in zip(self.encoders, each, strict=True)]

    def count_chunks(self, settings: PaintSettings, vectors: Sequence[Vectors] = ()) -> int:
        """How many chunks of words the UNet hears: as many as the longer of what it hears takes."""
        texts = [settings.prompt, *([settings.negative_prompt] if self.is_guided(settings) else [])]
        return max(chunks.count for words in texts for chunks in self._cut(words, vectors))

    def vectors_of(self, embeddings: Sequence[ModelSpec]) -> tuple[Vectors, ...]:
        """For `read`. Raises EngineFailed: `part_unavailable`, `part_refused`, `part_unfit`."""
        return read_vectors(embeddings, [encoder for _, encoder in self.encoders], self.spec.label)

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

    def _unread(self, settings: PaintSettings, vectors: Sequence[Vectors]) -> Iterator[str]:
        """Sentences about words that the UNet does not hear, or not as they were meant."""
        used: set[str] = set()
        most = MOST_CHUNKS * (self.encoders[0][0].model_max_length - 2)
        for name in ("prompt", "negative_prompt"):
            words: str = getattr(settings, name)
            yield from spans_of(words)[1]
            chunks = self._cut(words, vectors)[0]
            used |= chunks.embeddings
            if chunks.unread:
                yield (f"The {name} is longer than the model reads ({most} tokens); not read: “{chunks.unread[:200]}”.")
        for slug in settings.embeddings:
            if slug not in used:
                yield f"The embedding {slug} was asked for, and “{mark_of(slug)}” stands in no prompt."

    def encode_image(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[1, 3, 8h, 8w], -1 to 1 -> latents [1, 4, h, w], drawn from what the VAE says, as diffusers does."""
        state = generator.get_state()
        latents = self._encode(pixels, generator, self._encoding_dtype)
        if not bool(torch.isfinite(latents).all()):
            latents = self._encode(pixels, generator.set_state(state), torch.float32)
        return latents

    def _encode(self, pixels: torch.Tensor, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
        with self._vae_in(dtype):
            said = self.vae.encode(pixels.to(self.hardware.device, dtype))
            drawn = said.latent_dist.sample(generator) if self.draws_latents else said.latents
        return torch.as_tensor(drawn.float() * self.vae.config.scaling_factor)

    @property
    def draws_latents(self) -> bool:
        """Whether its VAE says where latents lie, of which some are drawn; a tiny one says the latents themselves."""
        return not isinstance(self.vae, AutoencoderTiny)

    # Start

    @torch.inference_mode()
    def start(self, request: InpaintRequest, index: int, text: Text) -> tuple[Denoising, tuple[str, ...]]:
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
            is_trailing=self.adapters.want_trailing_steps,
        )
        steps, most = settings.steps or self.spec.steps, schedulers.most_steps(scheduler)
        if steps > most:
            notes = (*notes, f"{steps} steps were asked for; {type(scheduler).__name__} takes at most {most}.")
        timesteps = schedulers.begin(scheduler, min(steps, most), settings.strength)
        generator = torch.Generator().manual_seed((settings.seed + index) % 2**63)
        pixels = to_tensor(request.image.pixels)
        marked = torch.from_numpy(request.mask.astype(np.float32) / 255)[None, None]
        mask = max_pool2d(marked, CELL).to(self.hardware.device)
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
        denoising = Denoising(
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

    def draw(self, cells: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        """Noise [1, 4, h, w]. Drawn on the CPU: the same on every device."""
        shape = (1, self.vae.config.latent_channels, *cells)
        return torch.randn(shape, generator=generator).to(self.hardware.device)

    # Predict

    @torch.inference_mode()
    def predict(self, live: Sequence[Denoising]) -> list[torch.Tensor]:
        """One call of the UNet for all of them, each at its own time: what each wants for `advance`, in float32.

        They hear texts of one length: `count_chunks` is the same for all.
        """
        if len({one.networks for one in live}) > 1:  # a part's files were replaced while some are painted
            return [answer for one in live for answer in self.predict([one])]
        device, dtype = self.hardware.device, self.unet.dtype
        texts = [one.heard for one in live]
        inputs = torch.cat([one.model_input() for one in live]).to(dtype)
        times = torch.cat([one.time for one in live]).to(device)
        hears = torch.cat([text.embeds for text in texts]).to(dtype)
        told = self.conditions(texts)
        led = controls.residuals(live, inputs, times, hears, told)
        with image_prompts.heard(self.unet, live, hears) as heard:
            answer = self.unet(inputs, times, encoder_hidden_states=heard, return_dict=False, **told, **led)[0]
        return list(answer.float().split([one.rows for one in live]))

    def conditions(self, texts: Sequence[Text]) -> dict[str, Any]:
        """What else the UNet is told."""
        times = [text.time_condition for text in texts if text.time_condition is not None]
        return {"timestep_cond": torch.cat(times).to(self.unet.dtype)} if times else {}

    # Finish

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[NDArray[np.uint8]]:
        """[n, 4, h, w] -> n pictures [8h, 8w, 3].

        What comes out of a half-precision VAE as not-a-number is decoded again in float32. Raises EngineFailed
        (`model_produced_invalid_output`) where even that is none, and for latents that are not finite.
        """
        if not bool(torch.isfinite(latents).all()):
            raise invalid_output()
        pictures = self._decode(latents, self._decoding_dtype)
        if not bool(torch.isfinite(pictures).all()):
            pictures = self._decode(latents, torch.float32)
            if not bool(torch.isfinite(pictures).all()):
                raise invalid_output()
        whole = (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return list((whole * 255).round().astype(np.uint8))

    def _decode(self, latents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        config = self.vae.config
        latents = latents / config.scaling_factor
        if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
            deviation = torch.tensor(config.latents_std, device=latents.device).view(1, -1, 1, 1)
            latents = latents * deviation + torch.tensor(config.latents_mean, device=latents.device).view(1, -1, 1, 1)
        with self._vae_in(dtype):
            return self.vae.decode(latents.to(dtype), return_dict=False)[0].float()

    @property
    def vae_overflows(self) -> bool:
        """Whether its VAE must run in float32. In this family `force_upcast` is but a default of diffusers: never."""
        return False

    @property
    def _encoding_dtype(self) -> torch.dtype:
        return torch.float32 if self.vae_overflows else self.vae.dtype

    @property
    def _decoding_dtype(self) -> torch.dtype:
        return torch.float32 if self.vae_overflows and self.vae.dtype == torch.float16 else self.vae.dtype

    @contextmanager
    def _vae_in(self, dtype: torch.dtype) -> Iterator[None]:
        own = self.vae.dtype
        try:
            if own != dtype:
                self.vae.to(dtype)
            yield
        finally:
            if own != dtype:
                self.vae.to(own)

    @contextmanager
    def painting_with(self, vae: Any | None) -> Iterator[None]:
        """While it lasts, another VAE in place of its own; None is its own.

        Raises EngineFailed, `part_unfit`, for one whose latents are of another shape.
        """
        own = self.vae
        if vae is None:
            yield
            return
        if latents_of(vae) != latents_of(own):
            raise EngineFailed(
                f"The VAE gives latents of {latents_of(vae)}; {self.spec.label} wants {latents_of(own)}.",
                code="part_unfit",
            )
        try:
            self.vae = vae
            if self._is_tiled:
                vae.enable_tiling()
            yield
        finally:
            self.vae = own
            vae.disable_tiling()

    # When the device is too small

    def save_memory(self) -> bool:
        """Take the next step that needs less memory and more time, and note it. False when there is none left."""
        if not self._is_tiled:
            # Not attention slicing: scaled_dot_product_attention holds less than its slices would.
            self._is_tiled = True
            self.vae.enable_slicing()
            self.vae.enable_tiling()
            self.sacrifices.append("Memory was short: pictures were encoded and decoded in tiles.")
            return True
        if not self._is_offloaded and self.hardware.is_cuda:
            self._is_offloaded = True
            self.pipeline.enable_model_cpu_offload(device=self.hardware.device)
            self.sacrifices.append("Memory was short: parts of the model waited in the machine's memory.")
            return True
        return False


def latents_of(vae: Any) -> str:
    """What they are like, in words."""
    return f"{vae.config.latent_channels} channels, {2 ** (len(vae.config.block_out_channels) - 1)} pixels a side"


def layers_left_out(settings: PaintSettings) -> int | None:
    """`clip_skip` as diffusers counts it: how many layers are skipped, None for none."""
    return (settings.clip_skip or 1) - 1 or None


def to_tensor(pixels: NDArray[Any]) -> torch.Tensor:
    """[height, width, 3] of 8 bits -> [1, 3, height, width], -1 to 1, in float32."""
    return torch.from_numpy(2 * (pixels.astype(np.float32) / 255) - 1).permute(2, 0, 1)[None]


def invalid_output() -> EngineFailed:
    return EngineFailed(
        "The model gave numbers that are no picture. Another scheduler or more steps may help.",
        code="model_produced_invalid_output",
    )
