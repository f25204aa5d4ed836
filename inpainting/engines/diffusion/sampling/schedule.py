"""The steps of one image by a diffusers scheduler of its own.

Its timesteps and noise levels stay on the CPU: reading one from a GPU would wait for all queued work.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from inpainting.engines.diffusion.sampling.schedulers import parameter_names, pred_original_sample


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """A diffusers scheduler between two steps of an image.

    A step leaves it as it is and returns the schedule after it, so that a step that fails can be taken again.
    """

    scheduler: Any
    """Set by `begin` of `schedulers` or `flow_schedulers`."""
    timesteps: torch.Tensor
    """[steps], of all steps, on the CPU."""
    index: int = 0
    """The number of steps that were taken."""

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def is_done(self) -> bool:
        return self.index >= len(self)

    @property
    def share_left(self) -> float:
        """The share of the steps that is left, 0 to 1."""
        return 1 - self.index / len(self)

    @property
    def is_flow(self) -> bool:
        """Whether the network predicts the velocity from image to noise (Lipman et al. 2022, arXiv 2210.02747)."""
        return hasattr(self.scheduler, "scale_noise")

    @property
    def order(self) -> int:
        """The number of calls of the network in a step of the method, 1 or 2."""
        return int(self.scheduler.order)

    def first_latents(self, noise: torch.Tensor) -> torch.Tensor:
        """The latents of a generation that starts from noise alone."""
        return noise * float(self.scheduler.init_noise_sigma)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """The latents as the network takes them in this step."""
        if self.is_flow:
            return latents
        return torch.as_tensor(self.scheduler.scale_model_input(latents, self.timesteps[self.index]))

    def noised(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """An image's latents with the noise before this step; without noise after the last step."""
        if self.is_done:
            return image
        of_image, of_noise = self.weights
        return of_image * image + of_noise * noise

    @property
    def weights(self) -> tuple[float, float]:
        """The weights of an image and of the noise in the latents before this step. Not after the last step."""
        # By unit vectors on the CPU: diffusers would copy its noise levels to the latents' device.
        vectors, timestep = torch.eye(2, dtype=torch.float64), self.timesteps[self.index][None]
        if self.is_flow:
            weights = self.scheduler.scale_noise(vectors[0], timestep, vectors[1])
        else:
            weights = self.scheduler.add_noise(vectors[0], vectors[1], timestep)
        of_image, of_noise = weights.flatten().tolist()
        return of_image, of_noise

    def denoised(self, prediction: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The network's estimate of the image, from its output for the latents before this step.

        It may predict the velocity of a flow (`is_flow`), the noise, the image (`sample`), or `v_prediction` (Salimans
        and Ho 2022, arXiv 2202.00512, appendix D).
        """
        of_image, of_noise = self.weights
        if self.is_flow:
            return latents - of_noise * prediction
        prediction_type = self.scheduler.config.prediction_type
        if prediction_type == "sample":
            return prediction
        if prediction_type == "epsilon":
            return (latents - of_noise * prediction) / of_image
        scale = math.hypot(of_image, of_noise)  # 1 for variance-preserving weights
        return (of_image / scale * latents - of_noise * prediction) / scale

    def after(self) -> Schedule:
        """The schedule after this step, with both calls of a second-order method, for latents that move otherwise."""
        schedule, nothing = self, torch.zeros(1, 1, 1, 1)
        for _ in range(self.order):
            if not schedule.is_done:
                schedule, _, _ = schedule.step(nothing, schedule.scaled(nothing), torch.Generator())
        return schedule

    def step(
        self, prediction: torch.Tensor, latents: torch.Tensor, generator: torch.Generator
    ) -> tuple[Schedule, torch.Tensor, torch.Tensor | None]:
        """Take a step. Returns the schedule and the latents after it, and an estimate of the final latents.

        The estimate is None if the scheduler gives none.
        """
        scheduler, timestep = copied(self.scheduler), self.timesteps[self.index]
        arguments = {"generator": generator} if "generator" in parameter_names(type(scheduler).step) else {}
        following, *rest = scheduler.step(prediction, timestep, latents, return_dict=False, **arguments)
        if self.is_flow:
            estimate = latents - float(timestep) / scheduler.config.num_train_timesteps * prediction
        else:
            estimate = rest[0] if rest else pred_original_sample(scheduler)
        return replace(self, scheduler=scheduler, index=self.index + 1), following, estimate


def copied(scheduler: Any) -> Any:
    """A scheduler with lists of its own. It shares the tensors, which no scheduler changes in place."""
    new = copy.copy(scheduler)
    vars(new).update({name: value.copy() for name, value in vars(new).items() if isinstance(value, list)})
    return new
