"""The denoising of one image: its own scheduler, timesteps, guidance, mask and latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning


@dataclass(slots=True, eq=False)
class DenoisingState:
    """One image between two steps. Tensors are in float32 whatever the model computes in; h, w are latent pixels.

    mask: [1, 1, h, w], 1 = repaint, 0 = keep, between = repaint for that share of the steps.
    masked_image: [1, 4, h, w], the kept part's latents for an inpainting UNet (9 channels); None for a plain one.
    image: [1, 4, h, w], the source's latents, restored where the mask keeps or delays; None where none is needed.
    noise: [1, 4, h, w], the initial noise.
    timesteps: those still to do at the start; `index` counts the steps done.
    guided: the steps in which guidance is applied; None is all. A guided step takes two rows of a step batch, another
    one row: guidance helps most in the middle steps (Kynkäänniemi et al. 2024, arXiv 2404.07724).
    pred_original_sample: [1, 4, h, w], the scheduler's estimate of the final latents; None if it gives none.
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
    guidance_rescale: float = 0.0
    index: int = 0
    pred_original_sample: torch.Tensor | None = None
    controlnets: tuple[ControlNetConditioning, ...] = ()
    image_prompts: ImagePrompts | None = None

    @property
    def controls(self) -> list[tuple[ControlNetConditioning, float]]:
        """The ControlNets, each with its strength in this step."""
        return [(one, one.strength_at(self.index, len(self.timesteps))) for one in self.controlnets]

    @property
    def adapter_ids(self) -> tuple[frozenset[int], tuple[int, ...]]:
        """Equal for samples whose ControlNets and IP-Adapters are the same objects in memory, the latter in order."""
        networks = frozenset(id(one.network) for one in self.controlnets)
        return networks, tuple(map(id, self.image_prompts.adapters if self.image_prompts else ()))

    @property
    def is_done(self) -> bool:
        return self.index >= len(self.timesteps)

    @property
    def rows(self) -> int:
        """Rows of the step batch in this step: two with guidance, else one."""
        return self.text.rows if self.is_guided_now else 1

    @property
    def max_rows(self) -> int:
        """Rows of the step batch in any step from here on, at most."""
        is_guided_later = self.guided is None or self.index < self.guided.stop
        return self.text.rows if is_guided_later else 1

    @property
    def is_guided_now(self) -> bool:
        return self.guided is None or self.index in self.guided

    @property
    def step_text(self) -> TextConditioning:
        """The text of this step: without the negative prompt where there is no guidance."""
        return self.text if self.is_guided_now else self.text.prompt_only

    @property
    def step_timesteps(self) -> torch.Tensor:
        """The timestep of this step for each row, [rows]."""
        return self.timesteps[self.index].float().expand(self.rows)

    def model_input(self) -> torch.Tensor:
        """[rows, 4 or 9, h, w]"""
        scaled = self.scheduler.scale_model_input(self.latents, self.timesteps[self.index])
        if self.masked_image is not None:
            scaled = torch.cat([scaled, (self.mask >= 0.5).to(scaled.dtype), self.masked_image], dim=1)
        return scaled.expand(self.rows, -1, -1, -1)

    @torch.inference_mode()
    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step. prediction: the network's output for `model_input`, [rows, 4, h, w]."""
        prediction, latents = self._guided_prediction(prediction), self.latents
        timestep = self.timesteps[self.index]
        self.latents, *rest = self.scheduler.step(
            prediction, timestep, latents, return_dict=False, **self.step_arguments
        )
        self.pred_original_sample = rest[0] if rest else self.estimate_original(latents, prediction)
        self.index += 1
        if self.image is not None:
            self._restore_kept(self.image)

    def _guided_prediction(self, prediction: torch.Tensor) -> torch.Tensor:
        """[rows, 4, h, w] -> [1, 4, h, w]"""
        if self.rows == 1:
            return prediction
        # Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6).
        unguided, prompted = prediction.chunk(2)
        prediction = unguided + self.guidance * (prompted - unguided)
        if self.guidance_rescale:
            # Lin et al. 2023, section 3.4 (arXiv 2305.08891).
            prediction = rescale_noise_cfg(prediction, prompted, self.guidance_rescale)
        return prediction

    def estimate_original(self, latents: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor | None:
        """The estimate of the final latents after a step from `latents`, for a scheduler whose step gives none."""
        return schedulers.pred_original_sample(self.scheduler)

    def noised(self, image: torch.Tensor) -> torch.Tensor:
        """The source's latents with the noise of the next step."""
        return torch.as_tensor(self.scheduler.add_noise(image, self.noise, self.timesteps[self.index : self.index + 1]))

    def _restore_kept(self, image: torch.Tensor) -> None:
        """Replace what the mask keeps, or does not free yet, by the source's latents with the next step's noise.

        Kept parts as in blended latent diffusion (Avrahami et al. 2022, arXiv 2206.02779); a grey part is freed when
        its share of the steps is left (differential diffusion, Levin and Fried 2023, arXiv 2306.00950).
        """
        if not self.is_done:
            image = self.noised(image)
        is_free = self.mask > 1 - self.index / len(self.timesteps)
        if self.masked_image is not None:
            # An inpainting UNet predicts the kept parts itself, as it was trained to; compositing discards them.
            is_free |= self.mask == 0
        self.latents = torch.where(is_free, self.latents, image)
