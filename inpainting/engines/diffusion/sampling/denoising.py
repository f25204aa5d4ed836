"""The denoising of images: each with its own schedule, guidance, mask and latents, sharing the network's calls."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.conditioning.regional_texts import RegionalTexts
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.sampling.lanpaint import LanPaint
from inpainting.engines.diffusion.sampling.schedule import Schedule


class TakenStep(NamedTuple):
    """What a step makes of an image, before the image is changed."""

    schedule: Schedule
    latents: torch.Tensor
    generator: torch.Generator
    pred_original_sample: torch.Tensor | None
    lanpaint: LanPaint | None


@dataclass(slots=True, weakref_slot=True, eq=False)
class DenoisingState:
    """One image between two steps. Tensors are in float32 whatever the model computes in; c is the number of latent
    channels, h, w are latent pixels."""

    latents: torch.Tensor
    """[1, c, h, w]."""
    text: TextConditioning
    guidance: float
    schedule: Schedule
    mask: torch.Tensor
    """[1, 1, h, w], 1 = repaint, 0 = keep, between = repaint for that share of the steps."""
    masked_image: torch.Tensor | None
    """[1, c, h, w], the kept part's latents for an inpainting UNet (9 channels); None for a plain one."""
    image: torch.Tensor | None
    """[1, c, h, w], the source's latents, restored where the mask keeps or delays; None where none is needed."""
    noise: torch.Tensor
    """[1, c, h, w], the initial noise."""
    generator: torch.Generator
    """It draws the noise of the steps, on the CPU."""
    guided: range | None = None
    """The steps in which guidance is applied; None is all. A guided step takes two rows of a step batch, another one
    row: guidance helps most in the middle steps (Kynkäänniemi et al. 2024, arXiv 2404.07724)."""
    guidance_rescale: float = 0.0
    restores_kept_part: bool = False
    """Whether the source's latents are restored in the kept part although the network sees it in `masked_image`."""
    controlnets: tuple[ControlNetConditioning, ...] = ()
    image_prompts: ImagePrompts | None = None
    regions: RegionalTexts | None = None
    """None where the text is for the whole image."""
    loras: ActiveLoras = ()
    """With which its text is predicted."""
    references: tuple[torch.Tensor, ...] = ()
    """The latents of its reference images, [1, c, h, w] each, of models that take them."""
    pred_original_sample: torch.Tensor | None = None
    """The scheduler's estimate of the final latents after the last step, [1, c, h, w]; None if it gives none."""
    lanpaint: LanPaint | None = None
    """None where the steps are those of the schedule alone. Set by `use_lanpaint`."""
    group: StepGroup | None = None
    """The last group of which this image was the first."""
    _device_timesteps: torch.Tensor | None = None
    _region_views: list[DenoisingState] = field(default_factory=list)

    @property
    def index(self) -> int:
        """The number of steps that were taken."""
        return self.schedule.index

    @property
    def call_count(self) -> int:
        """The number of calls of the network in all steps."""
        return self._calls_in(len(self.schedule))

    @property
    def calls_done(self) -> int:
        """The number of calls of the network so far."""
        return self._calls_in(self.index) + (0 if self.lanpaint is None else self.lanpaint.taken)

    def _calls_in(self, steps: int) -> int:
        return steps if self.lanpaint is None else self.lanpaint.call_count(self.schedule, steps)

    def use_lanpaint(self, inner_steps: int) -> None:
        """Take so many Langevin steps at each noise level, before the first step of the image.

        Nothing changes with 0, for a network that takes the masked image, and where nothing is kept.
        """
        if inner_steps and self.image is not None and self.masked_image is None and bool((self.mask < 1).any()):
            self.lanpaint = LanPaint(inner_steps)

    @property
    def timesteps(self) -> torch.Tensor:
        """[steps], of all steps, on the CPU."""
        return self.schedule.timesteps

    @property
    def controls(self) -> list[tuple[ControlNetConditioning, float]]:
        """The ControlNets, each with its strength in this step."""
        return [(control, control.strength_at(self.index, len(self.schedule))) for control in self.controlnets]

    @property
    def predicts_kept_part(self) -> bool:
        """Whether the networks see the kept part of the source in this step, and predict it themselves."""
        is_controlled = any(strength and control.predicts_kept_part for control, strength in self.controls)
        return (self.masked_image is not None and not self.restores_kept_part) or is_controlled

    @property
    def adapter_ids(self) -> tuple[frozenset[int], tuple[int, ...]]:
        """Equal for samples whose ControlNets and IP-Adapters are the same objects in memory, the latter in order."""
        networks = frozenset(id(control.network) for control in self.controlnets)
        return networks, tuple(map(id, self.image_prompts.adapters if self.image_prompts else ()))

    @property
    def is_done(self) -> bool:
        return self.schedule.is_done

    @property
    def rows(self) -> int:
        """Rows of its text in this step: two with guidance, else one."""
        return self.text.rows if self.is_guided_now else 1

    @property
    def all_rows(self) -> int:
        """Rows of the step batch in this step: those of its text and of its regions."""
        return sum(view.rows for view in self.views)

    @property
    def max_rows(self) -> int:
        """Rows of the step batch in any step from here on, at most."""
        is_guided_later = self.guided is None or self.index < self.guided.stop
        return sum(view.text.rows if is_guided_later else 1 for view in self.views)

    @property
    def views(self) -> list[DenoisingState]:
        """This image with each of its texts, as the network takes it in this step."""
        if self.regions is not None and not self._region_views:
            for text, loras in zip(self.regions.texts, self.regions.loras, strict=True):
                view = replace(self, text=text, loras=loras, regions=None, group=None, _region_views=[])
                self._region_views.append(view)
        for view in self._region_views:
            view.latents, view.schedule = self.latents, self.schedule
        return [self, *self._region_views]

    def merged(self, predictions: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the prediction of this step, [rows, c, h, w], of those for each of `views`."""
        return predictions[0] if self.regions is None else self.regions.mean(predictions)

    @property
    def is_guided_now(self) -> bool:
        return self.guided is None or self.index in self.guided

    @property
    def step_text(self) -> TextConditioning:
        """The text of this step: without the negative prompt where there is no guidance."""
        return self.text if self.is_guided_now else self.text.prompt_only

    @property
    def step_timesteps(self) -> torch.Tensor:
        """The timestep of this step for each row, [rows], on the device."""
        if self._device_timesteps is None:  # copied once: every copy waits for the device
            self._device_timesteps = self.timesteps.float().to(self.latents.device)
        return self._device_timesteps[self.index].expand(self.rows)

    @property
    def model_input(self) -> torch.Tensor:
        """What the network takes in this step, [rows, c or 2 c + 1, h, w]."""
        scaled = self.schedule.scaled(self.latents)
        if self.masked_image is not None:
            scaled = torch.cat([scaled, (self.mask >= 0.5).float(), self.masked_image], dim=1)
        return scaled.expand(self.rows, -1, -1, -1)

    def taken_step(self, prediction: torch.Tensor) -> TakenStep:
        """Compute this step without changing the image. prediction: the network's output, [rows, c, h, w]."""
        generator, prediction = self.generator.clone_state(), self._guided(prediction)
        if self.lanpaint is not None and self.image is not None:
            moved = self.lanpaint.move(self.schedule, self.latents, prediction, self.image, self.mask, generator)
            return TakenStep(moved.schedule, moved.latents, generator, moved.pred_original_sample, moved.lanpaint)
        schedule, latents, estimate = self.schedule.step(prediction, self.latents, generator)
        return TakenStep(schedule, self._with_kept_part(latents, schedule), generator, estimate, None)

    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step alone. prediction: the network's output, [rows, c, h, w]."""
        advance([self], [prediction])

    def _guided(self, prediction: torch.Tensor) -> torch.Tensor:
        """Return the prediction with guidance, [1, c, h, w], of [rows, c, h, w]."""
        if len(prediction) == 1:
            return prediction
        # Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6).
        unguided, prompted = prediction.split(1)
        guided = unguided + self.guidance * (prompted - unguided)
        if not self.guidance_rescale:
            return guided
        # Lin et al. 2023, section 3.4 (arXiv 2305.08891).
        return torch.as_tensor(rescale_noise_cfg(guided, prompted, self.guidance_rescale))

    def _with_kept_part(self, latents: torch.Tensor, schedule: Schedule) -> torch.Tensor:
        """Replace what the mask keeps, or does not free yet, by the source's latents with the next step's noise.

        Kept parts as in blended latent diffusion (Avrahami et al. 2022, arXiv 2206.02779); a grey part is freed when
        its share of the steps is left (differential diffusion, Levin and Fried 2023, arXiv 2306.00950).
        """
        if self.image is None:
            return latents
        # An inpainting model predicts the kept parts itself, as it was trained to; compositing discards them.
        mask = self.mask.masked_fill(self.mask == 0, 1.0) if self.predicts_kept_part else self.mask
        return torch.where(mask > schedule.share_left, latents, schedule.noised(self.image, self.noise))


class StepGroup:
    """Images that share the network's calls, as long as they and their rows stay the same."""

    def __init__(self, states: Sequence[DenoisingState]) -> None:
        self._members = [weakref.ref(state) for state in states]
        self._rows = [state.rows for state in states]
        self._kept: dict[Hashable, Any] = {}

    def is_of(self, states: Sequence[DenoisingState]) -> bool:
        members, rows = [weakref.ref(state) for state in states], [state.rows for state in states]
        return self._members == members and self._rows == rows

    @property
    def states(self) -> list[DenoisingState]:
        return [state for member in self._members if (state := member()) is not None]

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` returns, or returned for this key before."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def latents(self) -> torch.Tensor:
        """The latents of all images, [images, c, h, w]."""
        return torch.cat([state.latents for state in self.states])

    @property
    def timesteps(self) -> torch.Tensor:
        """[rows], on the device."""
        return torch.cat([state.step_timesteps for state in self.states])

    @property
    def model_input(self) -> torch.Tensor:
        """What the network takes in this step, [rows, c or 2 c + 1, h, w]."""
        return torch.cat([state.model_input for state in self.states])


@torch.inference_mode()
def advance(states: Sequence[DenoisingState], predictions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Take one step of each image, or one Langevin step. Returns their latents, [images, c, h, w].

    predictions: the network's output for each one's rows. If this fails no image is changed; it may be tried again.
    """
    steps = [state.taken_step(prediction) for state, prediction in zip(states, predictions, strict=True)]
    latents = torch.cat([step.latents for step in steps])
    for state, step in zip(states, steps, strict=True):
        state.schedule, state.latents, state.generator, state.pred_original_sample, state.lanpaint = step
    return latents


def group_of(states: Sequence[DenoisingState]) -> StepGroup:
    """The group of these images: the last one, or a new one if other images or rows take this step."""
    group = states[0].group
    if group is None or not group.is_of(states):
        group = states[0].group = StepGroup(states)
    return group
