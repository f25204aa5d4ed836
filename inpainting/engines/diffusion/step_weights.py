"""The steps of a diffusers scheduler as weighted sums, so that one sum takes a step for images at different steps.

Every scheduler computes the next latents as a linear combination of the latents, the predictions and the noise of this
step and of a few before it. Its weights are read by taking all steps with unit vectors instead of latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from inpainting.engines.diffusion.schedulers import pred_original_sample

NEGLIGIBLE = 1e-9
"""Weights smaller than this are rounding errors of terms that cancel each other."""
LATENTS, PREDICTION, NOISE, CARRIED = KINDS = range(4)
"""Kinds of terms. CARRIED is what UniPC keeps beside its predictions: the corrected latents of the step before."""


class Term(NamedTuple):
    """A tensor of this step (lag 0) or of an earlier one. kind: one of KINDS."""

    lag: int
    kind: int


@dataclass(frozen=True, slots=True, eq=False)
class StepWeights:
    """The weights of all steps of one schedule, in float64 on the CPU.

    timesteps: [steps]. input_scales: [steps], factors of the network's input. noised: [steps + 1, 2], weights of an
    image and of its noise before each step, and at the end. terms: those with a weight in any step; in what follows
    they are the columns. latents: [steps, terms], of the next latents. estimates: of the final latents; None where the
    scheduler estimates none. carried: None but for UniPC. draws: whether each step draws noise.
    """

    timesteps: torch.Tensor
    init_noise_sigma: float
    input_scales: torch.Tensor
    noised: torch.Tensor
    terms: tuple[Term, ...]
    latents: torch.Tensor
    estimates: torch.Tensor | None
    carried: torch.Tensor | None
    draws: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def max_lag(self) -> int:
        return max(term.lag for term in self.terms)

    @property
    def outputs(self) -> int:
        """Sums of terms in a step."""
        return 1 if self.carried is None else 2

    def table(self, outputs: int, terms: int) -> torch.Tensor:
        """A row for each step, in float32, for a group with so many outputs and terms.

        Timestep, scale of the network's input, then what is true after the step: weights of an image and of its noise,
        the share of the steps that is left; then the weights of the terms for each output.
        """
        count = len(self)
        left = 1 - torch.arange(1, count + 1, dtype=torch.float64) / count
        weights = torch.zeros(count, outputs, terms, dtype=torch.float64)
        for output, of_terms in enumerate([self.latents, self.carried][: self.outputs]):
            weights[:, output, : len(self.terms)] = of_terms
        parts = [
            self.timesteps[:, None],
            self.input_scales[:, None],
            self.noised[1:],
            left[:, None],
            weights.flatten(1),
        ]
        return torch.cat([part.double() for part in parts], dim=1).float()

    def add_noise(self, image: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """An image's latents with the noise before step `index`."""
        of_image, of_noise = self.noised[index].tolist()
        return of_image * image + of_noise * noise


NoiseWeights = Callable[[torch.Tensor], tuple[float, float]]
"""Weights of an image and of its noise at a timestep."""
Estimate = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of the final latents by the latents, the prediction and the timestep of a step."""


class DrawnAs(TorchFunctionMode):  # type: ignore[misc]  # torch gives it no type
    """Within the context a vector takes the place of random numbers."""

    def __init__(self, vector: torch.Tensor) -> None:
        super().__init__()
        self.vector, self.was_drawn = vector, False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not torch.randn:
            return function(*args, **(kwargs or {}))
        self.was_drawn = True
        return self.vector


def read_weights(
    scheduler: Any,
    timesteps: torch.Tensor,
    noise_weights: NoiseWeights | None = None,
    estimate: Estimate | None = None,
) -> StepWeights:
    """Take all steps of a scheduler that was set to begin with `timesteps`; it is then at their end.

    noise_weights, estimate: where the scheduler does not tell them.
    """
    length = len(KINDS) * len(timesteps)
    noise_weights = noise_weights or (lambda timestep: scheduler_noise_weights(scheduler, timestep))
    scales, noised, draws = [], [], []
    rows: dict[str, list[torch.Tensor]] = {"latents": [], "estimates": [], "carried": []}
    for index, timestep in enumerate(timesteps):
        latents, prediction, noise, carried = (unit(len(KINDS) * index + kind, length) for kind in KINDS)
        noised.append(noise_weights(timestep))
        scale = getattr(scheduler, "scale_model_input", lambda sample, _: sample)
        scales.append(float(scale(torch.ones(1, 1, 1, 1, dtype=torch.float64), timestep)))
        with DrawnAs(noise) as drawn:
            following, *rest = scheduler.step(prediction, timestep, latents, return_dict=False)
        draws.append(drawn.was_drawn)
        rows["latents"].append(following)
        guess = estimate(latents, prediction, timestep) if estimate else None
        guess = rest[0] if rest else pred_original_sample(scheduler) if guess is None else guess
        if guess is not None:
            rows["estimates"].append(guess)
        if getattr(scheduler, "last_sample", None) is not None:
            rows["carried"].append(scheduler.last_sample)
            scheduler.last_sample = carried
    tables = {name: torch.stack([row.flatten().double() for row in table]) for name, table in rows.items() if table}
    terms, packed = remove_zeros(tables)
    return StepWeights(
        timesteps,
        float(scheduler.init_noise_sigma) if hasattr(scheduler, "init_noise_sigma") else 1.0,
        torch.tensor(scales, dtype=torch.float64),
        torch.tensor([*noised, (1.0, 0.0)], dtype=torch.float64),
        terms,
        packed["latents"],
        packed.get("estimates"),
        packed.get("carried"),
        tuple(draws),
    )


def unit(place: int, length: int) -> torch.Tensor:
    """[1, length, 1, 1]: 1 at `place`, 0 elsewhere; each entry takes the place of a tensor."""
    vector = torch.zeros(1, length, 1, 1, dtype=torch.float64)
    vector[:, place] = 1
    return vector


def scheduler_noise_weights(scheduler: Any, timestep: torch.Tensor) -> tuple[float, float]:
    image, noise = unit(0, 2), unit(1, 2)
    of_image, of_noise = scheduler.add_noise(image, noise, timestep[None]).flatten().tolist()
    return of_image, of_noise


def remove_zeros(tables: dict[str, torch.Tensor]) -> tuple[tuple[Term, ...], dict[str, torch.Tensor]]:
    """The terms of which any step of any table [steps, KINDS * steps] has a weight, and the tables with these alone."""
    places = [
        (step, int(place))
        for table in tables.values()
        for step, row in enumerate(table)
        for place in (row.abs() > NEGLIGIBLE).nonzero()
    ]
    terms = sorted({Term(step - place // len(KINDS), place % len(KINDS)) for step, place in places})
    packed = {name: torch.zeros(len(table), len(terms), dtype=torch.float64) for name, table in tables.items()}
    for name, table in tables.items():
        for step, row in enumerate(table):
            for column, term in enumerate(terms):
                if term.lag <= step:
                    packed[name][step, column] = row[len(KINDS) * (step - term.lag) + term.kind]
    return tuple(terms), packed
