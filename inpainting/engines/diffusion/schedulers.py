"""The 18 public scheduler names -> configured diffusers schedulers, one for each picture that is being denoised."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import torch

FALLBACKS = {
    "DDIMInverseScheduler": "DDIMScheduler",
    "IPNDMScheduler": "PNDMScheduler",
    "KarrasVeScheduler": "HeunDiscreteScheduler",
    "ScoreSdeVeScheduler": "EulerAncestralDiscreteScheduler",
}
"""Those that cannot drive a latent model at every strength, and what runs in their place.

DDIMInverse adds noise instead of taking it away: DDIM is its forward twin. IPNDM cannot start from a noised picture,
and its timesteps run from 0 to 1: PNDM is the same linear multistep idea. KarrasVe is Heun's method on a
variance-exploding model (Karras et al. 2022, algorithm 2). ScoreSdeVe draws fresh noise each step, as Euler's ancestral
sampling does.
"""
NAMES = (
    *("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler"),
    *("EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "DPMSolverSinglestepScheduler", "KDPM2AncestralDiscreteScheduler"),
    *("UniPCMultistepScheduler", "DEISMultistepScheduler", "LCMScheduler"),
)
"""The fourteen that run as themselves."""


def make(
    name: str,
    config: Mapping[str, Any],
    *,
    karras: bool | None = None,
    algorithm_type: str | None = None,
    is_trailing: bool = False,
) -> tuple[Any, tuple[str, ...]]:
    """A new scheduler with the model's own `config`, and sentences about what runs otherwise than asked.

    name: a public name. karras: sigmas spaced as by Karras et al. 2022, equation 5; None leaves the model's choice.
    algorithm_type: for the DPM solvers. is_trailing: the first step is the very end of the noise, as models that were
    distilled to few steps want it (Lin et al. 2023, arXiv 2305.08891, section 3.3).
    Raises ValueError for a name that is none.
    """
    notes = []
    real = FALLBACKS.get(name, name)
    if real not in NAMES:
        raise ValueError(f"no scheduler called {name}")
    if real != name:
        notes.append(f"{name} cannot drive this model; {real} ran in its place.")
    kind = getattr(diffusers, real)
    takes = inspect.signature(kind.__init__).parameters
    wanted: dict[str, Any] = {}
    # Latents are not pictures: clipping them to -1..1 is for models that paint pixels.
    if "clip_sample" in takes:
        wanted["clip_sample"] = False
    # The Runge-Kutta steps at PNDM's start need four steps, and strength would cut into them; no model here wants them.
    if "skip_prk_steps" in takes:
        wanted["skip_prk_steps"] = True
    if is_trailing and "timestep_spacing" in takes:
        wanted["timestep_spacing"] = "trailing"
    if karras is not None:
        if "use_karras_sigmas" in takes:
            others = {name: False for name in ("use_beta_sigmas", "use_exponential_sigmas") if karras and name in takes}
            wanted |= {"use_karras_sigmas": karras, **others}
        elif karras:
            notes.append(f"use_karras_sigmas changes nothing for {real}.")
    if algorithm_type not in (None, "none"):
        if real.startswith("DPMSolver"):
            wanted["algorithm_type"] = algorithm_type
        else:
            notes.append(f"algorithm_type changes nothing for {real}.")
    return kind.from_config(config, **wanted), tuple(notes)


def max_steps(scheduler: Any) -> int:
    """How many steps it can take: a consistency model's scheduler has no more than it was distilled with."""
    return int(own(scheduler, "original_inference_steps") or scheduler.config.num_train_timesteps)


def own(scheduler: Any, setting: str) -> Any:
    """A setting that schedulers of its class have, else None: a model's may hold those of the one it was saved with."""
    takes = inspect.signature(type(scheduler).__init__).parameters
    return scheduler.config.get(setting) if setting in takes else None


def begin(scheduler: Any, steps: int, strength: float) -> torch.Tensor:
    """Set a scheduler to start `strength` of the way into the noise. Returns its times from there, at least one step.

    On the CPU: reading a time from a GPU would make the whole queue of work wait.
    """
    scheduler.set_timesteps(steps, device="cpu")
    kept = max(1, min(int(steps * strength), steps))
    first = (steps - kept) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return torch.as_tensor(scheduler.timesteps[first:])


def steps_within(count: int, start: float | None, end: float | None) -> range:
    """Which of `count` steps lie wholly between two shares of them, 0 to 1; None is the very start or end."""
    first, last = start or 0.0, 1.0 if end is None else end
    inside = [index for index in range(count) if index / count >= first and (index + 1) / count <= last]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def step_arguments(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    """What `step` of this scheduler takes beside the tensors."""
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": generator} if "generator" in takes else {}


def pred_original_sample_of(scheduler: Any) -> torch.Tensor | None:
    """What a multistep scheduler that predicts the clean picture thought last that it would be."""
    algorithm = str(own(scheduler, "algorithm_type"))
    predicts_picture = own(scheduler, "predict_x0") or algorithm.endswith("dpmsolver++")
    outputs = getattr(scheduler, "model_outputs", None)
    return outputs[-1] if predicts_picture and outputs else None
