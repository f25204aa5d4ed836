"""Schedulers of models that were trained by flow matching: their names, their noise levels, where they begin."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import torch

from inpainting.core.settings_table import FLOW_SCHEDULERS, SCHEDULERS

EULER, HEUN = FLOW_SCHEDULERS
FALLBACKS = {"HeunDiscreteScheduler": HEUN, "KarrasVeScheduler": HEUN}
"""By Heun's method too. All other public names are for models that predict noise; Euler's method runs in their place.

diffusers has UniPC and the DPM solvers with sigmas of flow matching, but none of them can begin in a picture with noise
on it as `FluxFillPipeline` does (`scale_noise`), so there is nothing to be equal to.
"""


def make(name: str, config: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """A new scheduler with the model's own `config`, and sentences about what runs otherwise than asked.

    name: one of `core.settings_table.ALL_SCHEDULERS`. Raises ValueError for a name that is none.
    """
    if name not in (*FLOW_SCHEDULERS, *SCHEDULERS):
        raise ValueError(f"no scheduler called {name}")
    real = name if name in FLOW_SCHEDULERS else FALLBACKS.get(name, EULER)
    notes = () if real == name else (f"{name} cannot drive a model of flow matching; {real} ran in its place.",)
    kind = getattr(diffusers, real)
    return kind.from_config(known_to(kind, config)), notes


def begin(scheduler: Any, config: Mapping[str, Any], *, steps: int, strength: float, patches: int) -> torch.Tensor:
    """Set a scheduler to start `strength` of the way into the noise. Returns its times from there, at least one step.

    Levels are spaced evenly from 1 to 1/steps and then shifted towards the noise, the more the larger the picture
    (Esser et al. 2024, arXiv 2403.03206, section 5.3.2), as `FluxFillPipeline` does. patches: how many make up the
    picture. config: the model's own scheduler's. On the CPU: reading a time from a GPU would make the whole queue of
    work wait.
    """
    levels = scheduler
    if scheduler.order == 2:
        kind = diffusers.FlowMatchEulerDiscreteScheduler
        levels = kind.from_config(known_to(kind, config))
        scheduler.set_timesteps(steps, device="cpu")
    levels.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift(patches, config), device="cpu")
    if scheduler.order == 2:
        # Each level but the ends is come to twice: where a step of Heun's method ends, and where the next begins.
        ends = levels.sigmas
        scheduler.sigmas = torch.cat([ends[:1], ends[1:-1].repeat_interleave(2), ends[-1:]])
        scheduler.timesteps = torch.cat([levels.timesteps[:1], levels.timesteps[1:].repeat_interleave(2)])
    skipped = min(int(max(steps - steps * strength, 0)), steps - 1)
    first = skipped * scheduler.order
    scheduler.set_begin_index(first)
    return torch.as_tensor(scheduler.timesteps[first:])


def shift(patches: int, config: Mapping[str, Any]) -> float:
    """How far the levels are shifted for a picture of so many patches: linear between two sizes of training."""
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (most - least) / (many - few)
    return float(patches * slope + least - slope * few)


def level(scheduler: Any, time: torch.Tensor) -> float:
    """How much of what is seen at that time is noise: 0 to 1."""
    return float(time) / float(scheduler.config.num_train_timesteps)


def known_to(kind: type[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration a scheduler's class takes."""
    takes = inspect.signature(kind.__init__).parameters
    return {name: value for name, value in config.items() if name in takes}
