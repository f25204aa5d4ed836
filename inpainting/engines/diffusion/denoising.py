"""The denoising of images: each with its own schedule, guidance, mask and latents, all taking their steps together."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.step_weights import StepWeights

StepTerms = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Terms of one step, by their kinds in `step_weights`; what has no weight may be None."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class DenoisingState:
    """One image between two steps. Tensors are in float32 whatever the model computes in; h, w are latent pixels.

    mask: [1, 1, h, w], 1 = repaint, 0 = keep, between = repaint for that share of the steps.
    masked_image: [1, 4, h, w], the kept part's latents for an inpainting UNet (9 channels); None for a plain one.
    image: [1, 4, h, w], the source's latents, restored where the mask keeps or delays; None where none is needed.
    noise: [1, 4, h, w], the initial noise.
    weights: of the steps to do; `index` counts the steps done.
    generator: draws the noise of the steps, on the CPU.
    guided: the steps in which guidance is applied; None is all. A guided step takes two rows of a step batch, another
    one row: guidance helps most in the middle steps (Kynkäänniemi et al. 2024, arXiv 2404.07724).
    """

    latents: torch.Tensor
    text: TextConditioning
    guidance: float
    weights: StepWeights
    mask: torch.Tensor
    masked_image: torch.Tensor | None
    image: torch.Tensor | None
    noise: torch.Tensor
    generator: torch.Generator
    guided: range | None = None
    guidance_rescale: float = 0.0
    index: int = 0
    controlnets: tuple[ControlNetConditioning, ...] = ()
    image_prompts: ImagePrompts | None = None
    terms: deque[StepTerms] = field(default_factory=deque)
    """Of the last steps, the newest first."""
    drawn: torch.Tensor | None = None
    """The noise of the next step, once it is drawn."""
    group: StepGroup | None = None
    """The last group of which this image was the first."""
    tables: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    """`StepWeights.table` on the device, by its arguments."""

    @property
    def timesteps(self) -> torch.Tensor:
        return self.weights.timesteps

    @property
    def controls(self) -> list[tuple[ControlNetConditioning, float]]:
        """The ControlNets, each with its strength in this step."""
        return [
            (controlnet, controlnet.strength_at(self.index, len(self.timesteps))) for controlnet in self.controlnets
        ]

    @property
    def adapter_ids(self) -> tuple[frozenset[int], tuple[int, ...]]:
        """Equal for samples whose ControlNets and IP-Adapters are the same objects in memory, the latter in order."""
        networks = frozenset(id(controlnet.network) for controlnet in self.controlnets)
        return networks, tuple(map(id, self.image_prompts.adapters if self.image_prompts else ()))

    @property
    def is_done(self) -> bool:
        return self.index >= len(self.weights)

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
        """The timestep of this step for each row, [rows], on the CPU."""
        return self.timesteps[self.index].float().expand(self.rows)

    @property
    def pred_original_sample(self) -> torch.Tensor | None:
        """The scheduler's estimate of the final latents after the last step, [1, 4, h, w]; None if it gives none."""
        estimates = self.weights.estimates
        if estimates is None or not self.terms:
            return None
        weights, columns = estimates[self.index - 1].tolist(), self._columns(self.terms)
        return torch.stack([weight * column for weight, column in zip(weights, columns, strict=True)]).sum(0)

    def table(self, outputs: int, terms: int) -> torch.Tensor:
        key = outputs, terms
        if key not in self.tables:
            self.tables[key] = self.weights.table(outputs, terms).to(self.latents.device)
        return self.tables[key]

    def draw(self) -> torch.Tensor | None:
        """The noise of the next step, drawn once; None where it takes none."""
        if self.drawn is None and self.weights.draws[self.index]:
            self.drawn = torch.randn(self.latents.shape, generator=self.generator).to(self.latents.device)
        return self.drawn

    def columns(self, now: StepTerms) -> list[torch.Tensor]:
        """The terms of the weights before the end of this step, whose own are `now`."""
        return self._columns([now, *self.terms])

    def _columns(self, steps: Sequence[StepTerms]) -> list[torch.Tensor]:
        found = [steps[lag][kind] if lag < len(steps) else None for lag, kind in self.weights.terms]
        return [
            self.latents if item is None else item for item in found
        ]  # any numbers that are finite: their weight is 0

    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step alone. prediction: the network's output, [rows, 4, h, w]."""
        advance([self], [prediction])


class StepGroup:
    """Images that take steps together, as long as they and their rows stay the same: what is stacked of them once.

    sample_of_row: [rows]. unguided, prompted: [images], a row of each; the same row without guidance. guidance:
    [images, 1, 1, 1]. rescale: the same; None if it is 0 for all.
    """

    def __init__(self, states: Sequence[DenoisingState]) -> None:
        self._members = [weakref.ref(state) for state in states]
        self._rows = [state.rows for state in states]
        device = states[0].latents.device
        ends = list(accumulate(self._rows))
        rows = [number for number, count in enumerate(self._rows) for _ in range(count)]
        starts = [end - count for end, count in zip(ends, self._rows, strict=True)]
        indices = torch.tensor([*rows, *starts, *(end - 1 for end in ends)], device=device)
        self.sample_of_row, self.unguided, self.prompted = indices.split([len(rows), len(states), len(states)])
        self.is_guided = starts != [end - 1 for end in ends]
        scales = torch.tensor([[state.guidance, state.guidance_rescale * (state.rows > 1)] for state in states]).to(
            device
        )
        self.guidance, rescale = scales[:, :, None, None, None].unbind(1)
        self.rescale = rescale if any(state.guidance_rescale and state.rows > 1 for state in states) else None
        self._outputs = max(state.weights.outputs for state in states)
        self._terms = max(len(state.weights.terms) for state in states)
        self._kept: dict[Hashable, Any] = {}
        self._numbers: tuple[list[int], torch.Tensor] | None = None

    def is_of(self, states: Sequence[DenoisingState]) -> bool:
        return self._members == [weakref.ref(state) for state in states] and self._rows == [
            state.rows for state in states
        ]

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
        """[images, 4, h, w]"""
        return torch.cat([state.latents for state in self.states])

    @property
    def timesteps(self) -> torch.Tensor:
        """[rows], on the device."""
        return self._step_numbers()[:, 0].index_select(0, self.sample_of_row)

    @property
    def model_input(self) -> torch.Tensor:
        """[rows, 4 or 9, h, w]"""
        scaled = self.latents * self._step_numbers()[:, 1, None, None, None]
        masked = self.once("masked", self._masked)
        if masked is not None:
            scaled = torch.cat([scaled, masked], dim=1)
        return scaled.index_select(0, self.sample_of_row)

    def guided_predictions(self, predictions: torch.Tensor) -> torch.Tensor:
        """[rows, 4, h, w] -> [images, 4, h, w]"""
        if not self.is_guided:
            return predictions
        # Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6).
        unguided, prompted = (predictions.index_select(0, rows) for rows in (self.unguided, self.prompted))
        guided = unguided + self.guidance * (prompted - unguided)
        if self.rescale is None:
            return guided
        # Lin et al. 2023, section 3.4 (arXiv 2305.08891).
        return torch.where(self.rescale > 0, rescale_noise_cfg(guided, prompted, self.rescale), guided)

    def weighted_sums(self, columns: Sequence[Sequence[torch.Tensor]]) -> Sequence[torch.Tensor]:
        """The next latents, and the tensors that some schedulers carry on, [images, 4, h, w].

        columns: the terms of each image.
        """
        padded = [[*terms, *[terms[0]] * (self._terms - len(terms))] for terms in columns]
        stacked = torch.cat([term for terms in padded for term in terms]).unflatten(0, (len(padded), self._terms))
        weights = self._step_numbers()[:, 5:].unflatten(1, (self._outputs, self._terms))
        return (weights[..., None, None, None] * stacked[:, None]).sum(2).unbind(1)

    def restore_kept(self, latents: torch.Tensor) -> torch.Tensor:
        """Replace what the mask keeps, or does not free yet, by the source's latents with the next step's noise.

        Kept parts as in blended latent diffusion (Avrahami et al. 2022, arXiv 2206.02779); a grey part is freed when
        its share of the steps is left (differential diffusion, Levin and Fried 2023, arXiv 2306.00950).
        """
        kept = self.once("kept", self._kept_parts)
        if kept is None:
            return latents
        images, noises, masks = kept
        of_image, of_noise, threshold = self._step_numbers()[:, 2:5, None, None, None].unbind(1)
        return torch.where(masks > threshold, latents, of_image * images + of_noise * noises)

    def _step_numbers(self) -> torch.Tensor:
        """This step's row of each image's table."""
        states = self.states
        indices = [state.index for state in states]
        if self._numbers is None or self._numbers[0] != indices:
            rows = [state.table(self._outputs, self._terms)[state.index][None] for state in states]
            self._numbers = indices, torch.cat(rows)
        return self._numbers[1]

    def _masked(self) -> torch.Tensor | None:
        """What an inpainting UNet takes beside the latents, [images, 5, h, w]; None for a plain one."""
        parts = [
            [(state.mask >= 0.5).float(), state.masked_image] for state in self.states if state.masked_image is not None
        ]
        return torch.cat([torch.cat(part, dim=1) for part in parts]) if parts else None

    def _kept_parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Images, noises, and masks in which 1 is never restored; None if nothing of any image is restored."""
        if all(state.image is None for state in self.states):
            return None
        images, masks = [], []
        for state in self.states:
            images.append(state.noise if state.image is None else state.image)
            if state.image is None:
                masks.append(torch.ones_like(state.mask))
            else:
                # An inpainting UNet predicts the kept parts itself, as it was trained to; compositing discards them.
                masks.append(state.mask if state.masked_image is None else state.mask.masked_fill(state.mask == 0, 1.0))
        return torch.cat(images), torch.cat([state.noise for state in self.states]), torch.cat(masks)


@torch.inference_mode()
def advance(states: Sequence[DenoisingState], predictions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Take one step of each image, in a few operations for all. Returns their latents, [images, 4, h, w].

    predictions: the network's output for each one's rows. If this fails no image is changed; it may be tried again.
    """
    group = group_of(states)
    guided = group.guided_predictions(torch.cat(list(predictions))).split(1)
    now = [(state.latents, prediction, state.draw(), None) for state, prediction in zip(states, guided, strict=True)]
    latents, *carried = group.weighted_sums([state.columns(terms) for state, terms in zip(states, now, strict=True)])
    latents = group.restore_kept(latents)
    for number, (state, terms) in enumerate(zip(states, now, strict=True)):
        state.terms.appendleft((*terms[:3], carried[0][number : number + 1] if carried else None))
        while len(state.terms) > state.weights.max_lag + 1:
            state.terms.pop()
        state.latents, state.drawn = latents[number : number + 1], None
        state.index += 1
    return latents


def group_of(states: Sequence[DenoisingState]) -> StepGroup:
    """The group of these images: the last one, or a new one if other images or rows take this step."""
    group = states[0].group
    if group is None or not group.is_of(states):
        group = states[0].group = StepGroup(states)
    return group
