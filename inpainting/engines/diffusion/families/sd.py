"""Stable Diffusion 1 and 2: a UNet on latents of 4 channels, one text encoder. SDXL builds on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import max_pool2d

from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.catalog import ModelSpec
from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.denoising import Denoising, Text
from inpainting.engines.diffusion.engine import CELL
from inpainting.engines.diffusion.families.base import LatentModel, to_tensor
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.model_files import INPAINTING_CHANNELS


class StableDiffusion(LatentModel):
    """A loaded model. Used by one thread alone: the one that owns the device.

    pipeline: any diffusers pipeline of the family; it lends its parts, and nothing of a generation is kept on it.
    """

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        self.unet = pipeline.unet

    @property
    def is_inpainting(self) -> bool:
        """Whether its UNet is shown the mask and the picture around it (9 channels)."""
        return bool(self.unet.config.in_channels == INPAINTING_CHANNELS)

    # Encode

    def is_guided(self, settings: PaintSettings) -> bool:
        """Whether a negative prompt is heard: not at a guidance of 1, nor by a UNet distilled with guidance."""
        return self.guidance(settings) > 1 and self.unet.config.time_cond_proj_dim is None

    def rows_for(self, settings: PaintSettings) -> int:
        """How many rows of the UNet's batch a picture takes."""
        return 2 if self.is_guided(settings) else 1

    @torch.inference_mode()
    def read(self, settings: PaintSettings, size: Size) -> tuple[Text, tuple[str, ...]]:
        """What the UNet hears of a request painted at `size`, and sentences about words that it does not hear."""
        text = self.encode_text(settings, size)
        if self.unet.config.time_cond_proj_dim is not None:
            scale = torch.tensor([self.guidance(settings) - 1])
            width = self.unet.config.time_cond_proj_dim
            condition = self.pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
            text = replace(text, time_condition=condition.to(self.hardware.device))
        notes = [self._unread(getattr(settings, name), name) for name in ("prompt", "negative_prompt")]
        return text, tuple(note for note in notes if note)

    def encode_text(self, settings: PaintSettings, size: Size) -> Text:
        guided = self.is_guided(settings)
        positive, negative = self.pipeline.encode_prompt(
            settings.prompt,
            self.hardware.device,
            1,
            guided,
            settings.negative_prompt or None,
            clip_skip=layers_left_out(settings),
        )
        return Text(torch.cat([negative, positive]) if guided else positive)

    def _unread(self, words: str, name: str) -> str | None:
        tokenizer = self.pipeline.tokenizer
        room = tokenizer.model_max_length
        tokens = tokenizer(words, truncation=False, verbose=False).input_ids
        if len(tokens) <= room:
            return None
        rest = str(tokenizer.decode(tokens[room - 1 : -1])).strip()
        return f"The {name} is longer than the model reads ({room - 2} tokens); not read: “{rest[:200]}”."

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
            self.draw(cells, generator)  # diffusers encodes the masked picture here too, and then does not look at it
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
        )
        return denoising, notes

    # Predict

    @torch.inference_mode()
    def predict(self, live: Sequence[Denoising]) -> list[torch.Tensor]:
        """One call of the UNet for all of them, each at its own time: what each wants for `advance`, in float32."""
        device, dtype = self.hardware.device, self.unet.dtype
        inputs = torch.cat([one.model_input() for one in live]).to(dtype)
        answer = self.unet(
            inputs,
            torch.cat([one.time for one in live]).to(device),
            encoder_hidden_states=torch.cat([one.text.embeds for one in live]).to(dtype),
            return_dict=False,
            **self.conditions([one.text for one in live]),
        )[0]
        return list(answer.float().split([one.rows for one in live]))

    def conditions(self, texts: Sequence[Text]) -> dict[str, Any]:
        """What else the UNet is told."""
        times = [text.time_condition for text in texts if text.time_condition is not None]
        return {"timestep_cond": torch.cat(times).to(self.unet.dtype)} if times else {}

def layers_left_out(settings: PaintSettings) -> int | None:
    """`clip_skip` as diffusers counts it: how many layers are skipped, None for none."""
    return (settings.clip_skip or 1) - 1 or None
