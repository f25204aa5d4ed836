"""Schedulers of models that predict noise: the public names, their diffusers classes, and where a schedule begins.

Each image that is denoised has a scheduler of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import diffusers
import torch

from inpainting.core.sentences import sentence
from inpainting.core.settings_table import SCHEDULERS

FALLBACKS = {
    "DDIMInverseScheduler": "DDIMScheduler",
    "IPNDMScheduler": "PNDMScheduler",
    "KarrasVeScheduler": "HeunDiscreteScheduler",
    "ScoreSdeVeScheduler": "EulerAncestralDiscreteScheduler",
}
"""Schedulers that do not support a latent model at every strength, and the scheduler that replaces each.

DDIMInverse adds noise instead of removing it; DDIM is its inverse. IPNDM cannot start from a noised image,
and its timesteps run from 0 to 1: PNDM is the same linear multistep idea. KarrasVe is Heun's method on a
variance-exploding model (Karras et al. 2022, algorithm 2). ScoreSdeVe draws fresh noise each step, as Euler's ancestral
sampling does.
"""
NAMES = tuple(name for name in SCHEDULERS if name not in FALLBACKS)
"""The public names that run as the diffusers class of the same name."""

LATENT_VALUES = {
    # Clipping to -1..1, and to a share of the values, is for models whose samples are pixels.
    "clip_sample": False,
    "thresholding": False,
    # PNDM's first Runge-Kutta steps need four steps, which a strength below 1 may not leave.
    "skip_prk_steps": True,
}
"""Configuration values of every latent model, whatever its own configuration has."""
LEARNED_VARIANCES = ("learned", "learned_range")
"""Values of `variance_type` for networks with twice the output channels, which no latent model here has."""

NONE_GUIDED = sentence("No step lies between guidance_start and guidance_end: none was guided.")


def make(
    name: str,
    config: Mapping[str, Any],
    *,
    karras: bool | None = None,
    algorithm_type: str | None = None,
    is_trailing: bool = False,
) -> tuple[Any, tuple[str, ...]]:
    """A new scheduler with the model's own `config`, and notes about settings that it cannot follow.

    name: a public name. karras: sigmas spaced as by Karras et al. 2022, equation 5; None leaves the model's choice.
    algorithm_type: for the DPM solvers. is_trailing: timesteps are counted from the end of the noise schedule, as
    models distilled to few steps need it (Lin et al. 2023, arXiv 2305.08891, section 3.3).
    Raises ValueError for an unknown name.
    """
    class_name = FALLBACKS.get(name, name)
    if class_name not in NAMES:
        raise ValueError(f"no scheduler called {name}")
    replaced = sentence("{name} does not support this model; {other} was used instead.", name=name, other=class_name)
    notes: list[str] = [] if class_name == name else [replaced]
    scheduler_class = getattr(diffusers, class_name)
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in scheduler_parameters(scheduler_class):
        notes.append(
            sentence(
                "{name} does not start from pure noise, as this model was trained to; {other} does.",
                name=class_name,
                other="DDIMScheduler",
            )
        )
    overrides = latent_overrides(scheduler_class, config, is_trailing=is_trailing)
    if karras is not None:
        chosen = karras_overrides(scheduler_class, karras=karras)
        overrides |= chosen
        if karras and not chosen:
            notes.append(no_change("use_karras_sigmas", class_name))
    if algorithm_type not in (None, "none"):
        if class_name.startswith("DPMSolver"):
            overrides["algorithm_type"] = algorithm_type
        else:
            notes.append(no_change("algorithm_type", class_name))
    return scheduler_class.from_config(config, **overrides), tuple(notes)


def no_change(setting: str, class_name: str) -> str:
    return sentence("{setting} changes nothing for {scheduler}.", setting=setting, scheduler=class_name)


def latent_overrides(scheduler_class: type[Any], config: Mapping[str, Any], *, is_trailing: bool) -> dict[str, Any]:
    """Configuration values that every latent model needs, of those that the scheduler has. config: the model's own."""
    values = latent_values(config)
    if is_trailing:
        values["timestep_spacing"] = "trailing"
    return {name: value for name, value in values.items() if name in scheduler_parameters(scheduler_class)}


def latent_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values that replace those of a model's configuration. `ignored_weights` names those that differ from them."""
    if config.get("variance_type") in LEARNED_VARIANCES:
        return {**LATENT_VALUES, "variance_type": "fixed_small"}
    return dict(LATENT_VALUES)


def karras_overrides(scheduler_class: type[Any], *, karras: bool) -> dict[str, bool]:
    """The choice of sigmas, of which at most one may be on; empty for a scheduler that does not know Karras'."""
    names = scheduler_parameters(scheduler_class)
    if "use_karras_sigmas" not in names:
        return {}
    others = {name: False for name in ("use_beta_sigmas", "use_exponential_sigmas") if karras and name in names}
    return {"use_karras_sigmas": karras, **others}


def scheduler_parameters(scheduler_class: type[Any]) -> Collection[str]:
    """Names of the configuration values that schedulers of the class have."""
    return parameter_names(scheduler_class.__init__)


@cache
def parameter_names(function: Callable[..., Any]) -> frozenset[str]:
    """Names of a function's parameters, read once for each function: some are asked for in every step."""
    return frozenset(inspect.signature(function).parameters)


def max_steps(scheduler: Any) -> int:
    """Most steps that it can take: LCM's scheduler has no more than the model was distilled with."""
    return int(config_value(scheduler, "original_inference_steps") or scheduler.config.num_train_timesteps)


def config_value(scheduler: Any, name: str) -> Any:
    """A configuration value if schedulers of that class have it, else None.

    The configuration may also hold values of another class, with which the model was saved.
    """
    return scheduler.config.get(name) if name in scheduler_parameters(type(scheduler)) else None


def begin(scheduler: Any, steps: int, strength: float) -> torch.Tensor:
    """Set a scheduler to start `strength` of the way into the noise. Returns the timesteps left, at least one step's.

    On the CPU: reading a timestep from a GPU would wait for all queued work.
    """
    scheduler.set_timesteps(steps, device="cpu")
    left = max(1, min(int(steps * strength), steps))
    first = (steps - left) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return torch.as_tensor(scheduler.timesteps[first:])


def steps_within(count: int, start: float | None, end: float | None) -> range:
    """Which of `count` steps lie wholly between two shares of them, 0 to 1; None is the very start or end."""
    first, last = start or 0.0, 1.0 if end is None else end
    inside = [index for index in range(count) if index / count >= first and (index + 1) / count <= last]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def pred_original_sample(scheduler: Any) -> torch.Tensor | None:
    """The last estimate of the final latents by a multistep scheduler; None if its model outputs are no estimates."""
    algorithm = str(config_value(scheduler, "algorithm_type"))
    predicts_sample = config_value(scheduler, "predict_x0") or algorithm.endswith("dpmsolver++")
    outputs = getattr(scheduler, "model_outputs", None)
    return outputs[-1] if predicts_sample and outputs else None
