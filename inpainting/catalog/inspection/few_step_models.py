"""Models and LoRAs distilled to few steps, recognised by a configuration of scheduler and UNet, or by their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import CONFIG, ModelRefused, json_in
from inpainting.catalog.specs import FEW_STEPS, FewSteps, LoraKind

LCM_SCHEDULER = "LCMScheduler"
LCM_GUIDANCE = 8.0
"""Of consistency models that take the guidance scale as an input, as on the card of SimianLuo/LCM_Dreamshaper_v7."""
EULER_SCHEDULERS = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")

LORA_NAMES = {
    LoraKind.LCM: r"(?<![a-z])lcm[-_. ]?lora|(?<![a-z])lora[-_. ]?lcm(?![a-z])",
    LoraKind.LIGHTNING: r"(?<![a-z])lightning[-_. ]?(?P<steps>[248])[-_. ]?steps?(?![a-z])",
    LoraKind.HYPER: r"(?<![a-z])hyper[-_. ]?sd(xl|15)?[-_. ](?P<steps>[248]|12)[-_. ]?steps?[-_. ](?!cfg)",
}
"""Names of the published LoRAs: latent-consistency/lcm-lora-sdv1-5, sdxl_lightning_4step_lora, Hyper-SDXL-8steps-lora.
Those of Hyper-SD for one step need a timestep of their own, and those named CFG need guidance."""


def few_step_lora(name: str) -> tuple[LoraKind, int | None]:
    """Return the kind of a LoRA and the steps in its name; STYLE where the name is not surely that of another kind."""
    for kind, pattern in LORA_NAMES.items():
        if found := re.search(pattern, name.lower()):
            steps = found.groupdict().get("steps")
            return kind, None if steps is None else int(steps)
    return LoraKind.STYLE, None


def few_step_defaults(folder: Path) -> dict[str, Any]:
    """Return steps, guidance scale and scheduler for a pipeline's folder; {} for a model of many steps.

    Latent consistency models (Luo et al. 2023, arXiv 2310.04378) name their scheduler. Those of adversarial
    distillation (SD and SDXL Turbo, SDXL-Lightning) predict noise from timesteps counted back from the last one; models
    of many steps with such timesteps have zero terminal SNR or predict velocity.
    """
    scheduler, unet = values(folder / "scheduler" / "scheduler_config.json"), values(folder / "unet" / CONFIG)
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
