"""One picture on its way out of the noise: its own scheduler, generator, guidance, strength and mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, StepControl
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompt


@dataclass(frozen=True, slots=True, eq=False)
class TextConditioning:
    """What the UNet hears. Rows: the negative prompt first where there is guidance, then the prompt.

    embeds: [rows, tokens, features]. pooled: [rows, features] and time_ids: [rows, 6], for SDXL alone.
    time_condition: [rows, features], the guidance as a UNet that was distilled with it wants to hear it.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    time_ids: torch.Tensor | None = None
    time_condition: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        return self.embeds.shape[0]

    @property
    def prompt_alone(self) -> TextConditioning:
        """Without the negative prompt: one row."""
        pooled, time_ids = self.pooled, self.time_ids
        return TextConditioning(
            self.embeds[-1:],
            None if pooled is None else pooled[-1:],
            None if time_ids is None else time_ids[-1:],
            self.time_condition,
        )


@dataclass(slots=True, eq=False)
class DenoisingState:
    """Tensors of one picture, in float32 whatever the model computes in. h, w: an eighth of the window's sides.

    mask: [1, 1, h, w], 1 = repaint, 0 = keep, between = repaint for that share of the steps.
    masked_image: [1, 4, h, w], what an inpainting UNet (9 channels) is shown of the picture; None for a plain one.
    image: [1, 4, h, w], the picture's latents, where kept or grey parts are put back after each step.
    noise: [1, 4, h, w], what it started from. Times run from `timesteps[index]` on.
    guided: the steps in which guidance is applied; None is all. A step with it takes two rows of the UNet's batch, one
    without a single one: most of its good is done in the middle (Kynkäänniemi et al. 2024, arXiv 2404.07724).
    guess: [1, 4, h, w], what the scheduler thinks the end will be; None where it does not say.
    lead: the ControlNet that leads it, image_prompt: the picture that it hears beside its text, if there are any.
    """

    latents: torch.Tensor
    text: TextConditioning
    guidance: float
    scheduler: Any
    timesteps: torch.Tensor
    mask: torch.Tensor
    masked_image: torch.Tensor | None
    image: torch.Tensor | None
    noise: torch.Tensor
    step_arguments: dict[str, Any]
    guided: range | None = None
    index: int = 0
    pred_original_sample: torch.Tensor | None = None
    lead: ControlNetConditioning | None = None
    image_prompt: ImagePrompt | None = None

    @property
    def control(self) -> StepControl:
        """What the ControlNet does in this step."""
        strength = self.lead.strength_at(self.index, len(self.timesteps)) if self.lead is not None else 0.0
        return StepControl(self.lead, strength, self.rows)

    @property
    def networks(self) -> tuple[int, int]:
        """Equal for those whose ControlNet and IP-Adapter are the same in memory."""
        return id(self.lead and self.lead.network), id(self.image_prompt and self.image_prompt.adapter)

    @property
    def is_done(self) -> bool:
        return self.index >= len(self.timesteps)

    @property
    def rows(self) -> int:
        """How many rows of the UNet's batch the step takes: two where there is guidance."""
        return self.text.rows if self.is_guided_now else 1

    @property
    def max_rows(self) -> int:
        """How many rows any step from here on takes."""
        is_guided_later = self.guided is None or self.index < self.guided.stop
        return self.text.rows if is_guided_later else 1

    @property
    def is_guided_now(self) -> bool:
        return self.guided is None or self.index in self.guided

    @property
    def heard(self) -> TextConditioning:
        """What the UNet hears in this step."""
        return self.text if self.is_guided_now else self.text.prompt_alone

    @property
    def time(self) -> torch.Tensor:
        """[rows]"""
        return self.timesteps[self.index].float().expand(self.rows)

    def model_input(self) -> torch.Tensor:
        """[rows, 4 or 9, h, w]"""
        seen = self.scheduler.scale_model_input(self.latents, self.timesteps[self.index])
        if self.masked_image is not None:
            seen = torch.cat([seen, (self.mask >= 0.5).to(seen.dtype), self.masked_image], dim=1)
        return seen.expand(self.rows, -1, -1, -1)

    @torch.inference_mode()
    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step. prediction: the UNet's answer to `model_input`, [rows, 4, h, w]."""
        if self.rows == 2:
            unguided, towards = prediction.chunk(2)
            prediction = unguided + self.guidance * (towards - unguided)
        time = self.timesteps[self.index]
        self.latents, *rest = self.scheduler.step(
            prediction, time, self.latents, return_dict=False, **self.step_arguments
        )
        self.pred_original_sample = rest[0] if rest else schedulers.pred_original_sample_of(self.scheduler)
        self.index += 1
        if self.image is not None:
            self._put_back(self.image)

    def noised(self, image: torch.Tensor) -> torch.Tensor:
        """The picture's latents with the noise that belongs to the next step."""
        return torch.as_tensor(self.scheduler.add_noise(image, self.noise, self.timesteps[self.index : self.index + 1]))

    def _put_back(self, image: torch.Tensor) -> None:
        """What is kept, or not free yet, is the picture again, with the noise that belongs to the next step.

        Kept parts as in latent blending; a grey part is freed when as many steps are left as its share says
        (differential diffusion, Levin and Fried 2023, arXiv 2306.00950).
        """
        if not self.is_done:
            image = self.noised(image)
        free = self.mask > 1 - self.index / len(self.timesteps)
        if self.masked_image is not None:
            # An inpainting UNet paints the kept parts itself, as it was trained to; they are not looked at.
            free |= self.mask == 0
        self.latents = torch.where(free, self.latents, image)
