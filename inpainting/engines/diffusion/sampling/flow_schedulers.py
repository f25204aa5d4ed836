"""Schedulers of models trained by flow matching: their names, their sigmas, and where a schedule begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux_fill import calculate_shift
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import sentence
from inpainting.core.settings_table import FLOW_SCHEDULERS, SCHEDULERS
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.schedule import Schedule
from inpainting.engines.diffusion.sampling.schedulers import scheduler_parameters

EULER, HEUN = FLOW_SCHEDULERS
FALLBACKS = {"HeunDiscreteScheduler": HEUN, "KarrasVeScheduler": HEUN}
"""Public names that are replaced by Heun's method. All others for models that predict noise are replaced by Euler's.

diffusers has UniPC and the DPM solvers with flow matching sigmas, but none of them can start from a noised image as
`FluxFillPipeline` does (`scale_noise`), so there is no reference for them.
"""

Shift = Callable[[Mapping[str, Any], int, int], float]
"""Takes a model's scheduler configuration, the number of patches and that of steps; returns how far the noise levels
are shifted towards the noise, which diffusers calls `mu`."""


Levels = Callable[[Any, int], NDArray[np.float64]]
"""Takes a scheduler and the number of steps; returns the noise levels of the steps before they are shifted, [steps]."""


def even_levels(scheduler: Any, steps: int) -> NDArray[np.float64]:
    """Return levels from 1 to 1/steps, as `FluxFillPipeline` has them."""
    return np.linspace(1.0, 1 / steps, steps)


def linear_shift(config: Mapping[str, Any], patches: int, steps: int) -> float:
    """Return the shift that grows with the number of patches alone, as `FluxFillPipeline` computes it."""
    ranges = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
    return float(calculate_shift(patches, *(config.get(name, default) for name, default in ranges.items())))


def schedule(
    settings: PaintSettings,
    spec: ModelSpec,
    config: Mapping[str, Any],
    latent_size: tuple[int, int],
    shift: Shift = linear_shift,
    levels: Levels = even_levels,
) -> tuple[Schedule, tuple[str, ...]]:
    """The steps of a request by a new scheduler of `make`, and the notes about it.

    latent_size: height and width of the latents, each a multiple of PATCH_SIZE.
    """
    scheduler, notes = make(settings.scheduler or spec.scheduler, config)
    steps, (height, width) = settings.steps or spec.steps, latent_size
    patches = (height // PATCH_SIZE) * (width // PATCH_SIZE)
    strength = spec.strength_of(settings)
    timesteps = begin(scheduler, config, steps=steps, strength=strength, patches=patches, shift=shift, levels=levels)
    return Schedule(scheduler, timesteps), notes


def fixed_shift(shift: float | None) -> dict[str, Any]:
    """Configuration values with which noise levels are shifted alike at every size; none for None.

    As in the scheduler's configuration of Qwen-Image-Lightning.
    """
    if shift is None:
        return {}
    shifts = dict.fromkeys(("base_shift", "max_shift"), math.log(shift))
    return {**shifts, "use_dynamic_shifting": True, "time_shift_type": "exponential", "shift_terminal": None}


def make(name: str, config: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """A new scheduler with the model's own `config`, and a note if another one replaces the one called `name`.

    name: one of `core.settings_table.ALL_SCHEDULERS`. Raises ValueError for an unknown name.
    """
    if name not in (*FLOW_SCHEDULERS, *SCHEDULERS):
        raise ValueError(f"no scheduler called {name}")
    class_name = name if name in FLOW_SCHEDULERS else FALLBACKS.get(name, EULER)
    note = sentence("{name} does not support flow matching; {other} was used instead.", name=name, other=class_name)
    return make_supported(class_name, config), () if class_name == name else (note,)


def begin(
    scheduler: Any,
    config: Mapping[str, Any],
    *,
    steps: int,
    strength: float,
    patches: int,
    shift: Shift = linear_shift,
    levels: Levels = even_levels,
) -> torch.Tensor:
    """Set a scheduler to start `strength` of the way into the noise. Returns the timesteps left, at least one step's.

    Sigmas are spaced evenly, as `levels` says, and then shifted towards the noise, the more the larger the image
    (Esser et al. 2024, arXiv 2403.03206, section 5.3.2), as diffusers' pipelines do. patches: number of patches of the
    image. config: the model's own scheduler configuration. On the CPU: reading a timestep from a GPU would wait for
    all queued work.
    """
    euler = scheduler
    if scheduler.order == 2:
        euler = make_supported(EULER, config)
        scheduler.set_timesteps(steps, device="cpu")
    if steps == 1:  # one noise level cannot be both the first and the last, which it is stretched to
        euler.register_to_config(shift_terminal=None)
    mu = shift(config, patches, steps)
    euler.set_timesteps(sigmas=levels(euler, steps), mu=mu, device="cpu")
    if scheduler.order == 2:
        # Every sigma but the first and last is used twice: where a step of Heun's method ends, and the next begins.
        sigmas = euler.sigmas
        scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
        scheduler.timesteps = torch.cat([euler.timesteps[:1], euler.timesteps[1:].repeat_interleave(2)])
    skipped = min(int(max(steps - steps * strength, 0)), steps - 1)
    first = skipped * scheduler.order
    scheduler.set_begin_index(first)
    return torch.as_tensor(scheduler.timesteps[first:])


def make_supported(class_name: str, config: Mapping[str, Any]) -> Any:
    """A scheduler with those values of a configuration that its class has."""
    scheduler_class = getattr(diffusers, class_name)
    names = config.keys() & scheduler_parameters(scheduler_class)
    return scheduler_class.from_config({name: config[name] for name in names})
