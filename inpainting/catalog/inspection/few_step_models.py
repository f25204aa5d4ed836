"""Models and LoRAs distilled to few steps, recognised by their configurations, their names, or the titles they note."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import CONFIG, WEIGHTS, ModelRefused, json_in
from inpainting.catalog.inspection.formats.safetensors_header import read_metadata
from inpainting.catalog.specs import FEW_STEPS, FewSteps, LoraKind, few_steps_of

LCM_SCHEDULER = "LCMScheduler"
LCM_GUIDANCE = 8.0
"""Of consistency models that take the guidance scale as an input, as on the card of SimianLuo/LCM_Dreamshaper_v7."""
SCHNELL_DEFAULTS = {"steps": 4}
"""As on the card of black-forest-labs/FLUX.1-schnell."""
EULER_SCHEDULERS = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")

STEPS = r"(?<![\d.])(?P<steps>\d{1,2})[-_. ]?steps?(?![a-z])"
"""The number of steps in a name."""


@dataclass(frozen=True, slots=True)
class Names:
    """How a kind of few-step models is named, as patterns for names in lower case."""

    loras: str
    """Of LoRAs, where a word like “lightning” may also be what is painted."""
    checkpoints: str
    """Of checkpoints, which are merged with published ones and named after them."""
    steps: frozenset[int] = frozenset({2, 4, 8})
    """The numbers of steps that are published; a name with another one is of no kind."""


NAMES = {
    LoraKind.LCM: Names(
        r"(?<![a-z])lcm[-_. ]?lora|(?<![a-z])lora[-_. ]?lcm(?![a-z])|(?<![a-z])pcm_.*lcmlike",
        r"(?<![a-z])lcm(?![a-z])|(?<=\d)lcm",
        frozenset(range(2, 9)),
    ),
    LoraKind.LIGHTNING: Names(rf"(?<![a-z])lightning[-_. ]?{STEPS}", r"lightning"),
    LoraKind.HYPER: Names(
        rf"(?<![a-z])hyper[-_. ]?(sd(xl|15)?|flux[-_.\d]*dev)[-_. ]{STEPS}[-_. ](?!cfg)",
        r"hyper[-_. ]?sd(?!\w*cfg)|hyper(?=vae|inpaint|[^a-z]|\Z)(?![-_. ]?real)",
        frozenset({2, 4, 8, 12, 16}),
    ),
    LoraKind.TURBO: Names(r"(?<![a-z])flux[-_.\d]*(dev[-_. ])?turbo[-_. ]?alpha", r"turbo", frozenset({2, 4, 8})),
    LoraKind.DMD2: Names(r"(?<![a-z])dmd2(?!\d)", r"dmd2(?!\d)", frozenset({4, 8})),
    LoraKind.PCM: Names(
        r"(?<![a-z])pcm[-_. ](sd15|sdxl)[-_. ]smallcfg", r"(?<![a-z])pcm(?![a-z])", frozenset({2, 4, 8, 16})
    ),
    LoraKind.TCD: Names(r"(?<![a-z])tcd[-_. ].*lora", r"(?<![a-z])tcd(?![a-z])", frozenset({2, 4, 8, 16})),
}
"""The published names: latent-consistency/lcm-lora-sdv1-5, sdxl_lightning_4step_lora, Qwen-Image-Lightning-8steps-V1.1,
Hyper-SDXL-8steps-lora, Hyper-FLUX.1-dev-8steps-lora, FLUX.1-Turbo-Alpha, sd_xl_turbo_1.0_fp16,
dmd2_sdxl_4step_lora_fp16, pcm_sdxl_smallcfg_4step_converted, TCD-SDXL-LoRA; dreamshaper_8LCM and others.

Models of Lightning and Hyper-SD for one step need a timestep or a prediction of their own; LoRAs named CFG or normalcfg
need guidance. The first kind that fits decides.
"""
TITLES = ("modelspec.title", "ss_output_name")
"""Notes in safetensors files with the name of the model: of the Stability AI ModelSpec
(https://github.com/Stability-AI/ModelSpec), and of kohya-ss's trainer."""


def few_step_lora(name: str) -> tuple[LoraKind, int | None]:
    """Return the kind of a LoRA and the steps in its name; STYLE where the name is not surely that of another kind."""
    return kind_of(name, [(kind, names.loras, names.steps) for kind, names in NAMES.items()])


def few_step_checkpoint(path: Path, family: str) -> FewSteps | None:
    """Return the sampling settings of a checkpoint of one file by its name, or by the title in its notes.

    None where neither is that of a few-step model, and for families whose checkpoints of one file hold no whole model.
    """
    patterns = [(kind, names.checkpoints, names.steps) for kind, names in NAMES.items()]
    for name in (path.stem, *titles_in(path)):
        kind, steps = kind_of(name, patterns)
        published = few_steps_of(kind, family)
        if published is not None:
            return published if steps is None else replace(published, steps=steps)
    return None


def titles_in(path: Path) -> list[str]:
    """Return the names of a model that a safetensors file notes about it."""
    notes = read_metadata(path) if path.suffix.lower() == WEIGHTS else {}
    return [notes[key] for key in TITLES if key in notes]


def kind_of(name: str, patterns: Iterable[tuple[LoraKind, str, Collection[int]]]) -> tuple[LoraKind, int | None]:
    """Return the first kind whose pattern a name has, and the steps in it; STYLE where those are not published."""
    name = name.lower()
    named = re.search(STEPS, name)
    steps = int(named["steps"]) if named else None
    for kind, pattern, published in patterns:
        if re.search(pattern, name) and (steps is None or steps in published):
            return kind, steps
    return LoraKind.STYLE, None


def few_step_defaults(folder: Path) -> dict[str, Any]:
    """Return steps, guidance scale and scheduler for a pipeline's folder; {} for a model of many steps.

    Latent consistency models (Luo et al. 2023, arXiv 2310.04378) name their scheduler. Those of adversarial
    distillation (SD and SDXL Turbo, SDXL-Lightning) predict noise from timesteps counted back from the last one; models
    of many steps with such timesteps have zero terminal SNR or predict velocity. FLUX.1 [schnell] takes no guidance
    scale, and its noise levels are not shifted.
    """
    scheduler, unet = values(folder / "scheduler" / "scheduler_config.json"), values(folder / "unet" / CONFIG)
    transformer = values(folder / "transformer" / CONFIG)
    if transformer.get("guidance_embeds") is False and scheduler.get("use_dynamic_shifting") is False:
        return SCHNELL_DEFAULTS
    name = scheduler.get("_class_name")
    if name == LCM_SCHEDULER:
        defaults = FEW_STEPS[LoraKind.LCM].defaults
        return defaults | {"guidance_scale": LCM_GUIDANCE} if unet.get("time_cond_proj_dim") else defaults
    is_trailing = scheduler.get("timestep_spacing") == "trailing" and not scheduler.get("rescale_betas_zero_snr")
    if name in EULER_SCHEDULERS and is_trailing and scheduler.get("prediction_type", "epsilon") == "epsilon":
        return FewSteps(4, 1.0, str(name), is_trailing=True).defaults
    return {}


def values(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} where there is none."""
    try:
        value = json_in(path)
    except (OSError, ModelRefused):
        return {}
    return value if isinstance(value, dict) else {}
