"""Models distilled to few steps, recognised by the configuration of their scheduler and UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import CONFIG, ModelRefused, json_in
from inpainting.catalog.specs import FEW_STEPS, FewSteps, LoraKind

LCM_SCHEDULER = "LCMScheduler"
LCM_GUIDANCE = 8.0
"""Of consistency models that take the guidance scale as an input, as on the card of SimianLuo/LCM_Dreamshaper_v7."""
EULER_SCHEDULERS = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")


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
