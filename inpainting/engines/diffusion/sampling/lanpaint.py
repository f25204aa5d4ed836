"""Filling by models that were not trained to fill a mask: Langevin dynamics at each noise level, as LanPaint does.

The source is Zheng, Lan and Wang 2025, "LanPaint: Training-Free Diffusion Inpainting with Asymptotically Exact and Fast
Conditional Sampling", arXiv 2502.03491. From it are the bidirectional guided (BiG) score and the inner steps at each
noise level. Its fast Langevin dynamics has a momentum with friction; here the dynamics is overdamped, the limit of high
friction, and its exact steps (`langevin_step`), their size and MAX_SHIFT are our own.

A momentum that goes on from level to level, with friction 1 and the best size, leaves errors of the same size in the
Gaussian test: in the mean 0.05, 0.09 and 0.08 standard deviations with 2, 5 and 10 steps, instead of 0.08, 0.11 and
0.11; in the covariance 8, 5 and 16 %, instead of 8, 7 and 11 %. It would be one more tensor of each image's state.

Let the latents be z = a x + b e, where x is the image, e the noise and a, b are the weights of `Schedule.weights`; let
y be the known part of x, and x^ the network's estimate of x. The scores, times b^2, are

    a x^ - z                                      where the image is unknown, as of the model alone,
    (1 + L) (a y - z) - L (a x^ - z)              where it is known: the BiG score, with L = STRENGTH.

The first one alone would paint something plausible for noised surroundings. The second one also moves the noised
surroundings until the network, which sees the unknown part too, estimates that they are y; then its estimate of the
unknown part is conditional on y. Of a Gaussian it is exactly that, however strong the noise is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from inpainting.engines.diffusion.sampling.schedule import Schedule

STRENGTH = 8.0
"""L above: how closely the estimate of the known part has to agree with it. The authors recommend 4 to 10."""
MAX_SHIFT = 3.0
"""Standard deviations of the noise by which the BiG score moves the known part from the source at most.

A network may estimate something else than y wherever the latents are; without a limit it would move them ever further
from any that it was trained on. In the Gaussian test a limit of three leaves the errors as they are; two double them.
"""
LEVEL_SIZE = 1.2
"""The size of all Langevin steps of a noise level together, in units of b^2. In the Gaussian test less leaves the mean
off and more the covariance, since each step holds the network's estimate fixed."""
LEAST_SIZE = 0.2
"""The size of one Langevin step at least: with many, each is as exact as that, and more of them come closer."""


class Moved(NamedTuple):
    """What one call of the network leads to. latents, pred_original_sample: [1, c, h, w]."""

    lanpaint: LanPaint
    schedule: Schedule
    latents: torch.Tensor
    pred_original_sample: torch.Tensor


@dataclass(frozen=True, slots=True)
class LanPaint:
    """The Langevin steps of an image between two steps of its schedule."""

    inner_steps: int
    """At each noise level, each of one call of the network; one more call takes the step to the next level."""
    taken: int = 0
    """The number of Langevin steps that were taken at the present level."""

    def call_count(self, schedule: Schedule, index: int) -> int:
        """The number of calls of the network in the first `index` steps of a schedule."""
        return math.ceil(index / schedule.order) * (1 + self.inner_steps)

    def move(
        self,
        schedule: Schedule,
        latents: torch.Tensor,
        prediction: torch.Tensor,
        image: torch.Tensor,
        mask: torch.Tensor,
        generator: torch.Generator,
    ) -> Moved:
        """Take a Langevin step, or the step to the next noise level after the last one.

        latents, prediction, image: [1, c, h, w], before the step, of the network with guidance, and of the source.
        mask: [1, 1, h, w], 1 = unknown, 0 = known, between = known until its share of the steps is left, as without
        LanPaint. generator: draws the noise of the Langevin steps, on the CPU.
        """
        estimate, following = schedule.denoised(prediction, latents), schedule.after()
        known = mask <= following.share_left
        if self.taken < self.inner_steps:
            size = max(LEAST_SIZE, LEVEL_SIZE / self.inner_steps)
            latents = langevin_step(latents, estimate, image, known, schedule.weights, size, generator)
            return Moved(replace(self, taken=self.taken + 1), schedule, latents, torch.where(known, image, estimate))
        # Euler's method, which for these weights is DDIM's step (Song et al. 2020, arXiv 2010.02502). Other methods
        # reuse what they computed in earlier steps, before the latents were moved.
        of_image, of_noise = schedule.weights
        estimate = torch.where(known, image, estimate)
        noise = (latents - of_image * estimate) / of_noise
        return Moved(replace(self, taken=0), following, following.noised(estimate, noise), estimate)


def langevin_step(
    latents: torch.Tensor,
    estimate: torch.Tensor,
    image: torch.Tensor,
    known: torch.Tensor,
    weights: tuple[float, float],
    size: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Take one step of the Langevin dynamics of the two scores above, all [1, c, h, w]. size: in units of b^2.

    With the estimate held fixed, and also a x^ - z in the BiG score, each score is linear in z: an Ornstein-Uhlenbeck
    process, whose transition is known for a step of any size. It is stable for any L. `shift` is L a (y - x^), limited.
    """
    of_image, of_noise = weights
    rate = 1 + STRENGTH * known.float()
    shift = (STRENGTH * of_image * (image - estimate)).clamp(-MAX_SHIFT * of_noise, MAX_SHIFT * of_noise)
    pulled = latents + (of_image * image + shift - latents) / (1 + STRENGTH)
    mean = torch.where(known, pulled, of_image * estimate)
    decay = torch.exp(-size * rate)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    return mean + decay * (latents - mean) + of_noise * torch.sqrt((1 - decay**2) / rate) * noise
