"""The names of samplers in ComfyUI and in web UIs, which clients of several services send, and what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inpainting.core.errors import InvalidRequest

SAMPLERS = {
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpm_2": "KDPM2DiscreteScheduler",
    "dpm_2_ancestral": "KDPM2AncestralDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_sde": "DPMSolverSinglestepScheduler",
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "deis": "DEISMultistepScheduler",
    "ipndm": "IPNDMScheduler",
    "lcm": "LCMScheduler",
    "uni_pc": "UniPCMultistepScheduler",
}
"""Name in ComfyUI -> the scheduler of diffusers."""
SDE = "sde-dpmsolver++"
"""The algorithm type of the samplers whose names end with `2M SDE`."""


@dataclass(frozen=True, slots=True)
class WebUiSampler:
    """What a sampler of web UIs stands for. alias: its other name in AUTOMATIC1111; empty where that lacks it."""

    scheduler: str
    alias: str = ""
    algorithm_type: str | None = None

    @property
    def settings(self) -> dict[str, str | None]:
        return {"scheduler": self.scheduler, "algorithm_type": self.algorithm_type}


WEB_UI_SAMPLERS = {
    "DPM++ 2M": WebUiSampler("DPMSolverMultistepScheduler", "k_dpmpp_2m"),
    "DPM++ SDE": WebUiSampler("DPMSolverSinglestepScheduler", "k_dpmpp_sde"),
    "DPM++ 2M SDE": WebUiSampler("DPMSolverMultistepScheduler", "k_dpmpp_2m_sde", SDE),
    "Euler a": WebUiSampler("EulerAncestralDiscreteScheduler", "k_euler_a"),
    "Euler": WebUiSampler("EulerDiscreteScheduler", "k_euler"),
    "LMS": WebUiSampler("LMSDiscreteScheduler", "k_lms"),
    "Heun": WebUiSampler("HeunDiscreteScheduler", "k_heun"),
    "DPM2": WebUiSampler("KDPM2DiscreteScheduler", "k_dpm_2"),
    "DPM2 a": WebUiSampler("KDPM2AncestralDiscreteScheduler", "k_dpm_2_a"),
    "DDIM": WebUiSampler("DDIMScheduler", "ddim"),
    "PLMS": WebUiSampler("PNDMScheduler", "plms"),
    "PNDM": WebUiSampler("PNDMScheduler"),
    "UniPC": WebUiSampler("UniPCMultistepScheduler", "unipc"),
    "LCM": WebUiSampler("LCMScheduler", "k_lcm"),
}
"""Name in AUTOMATIC1111, in the order of its list, or in IOPaint -> what it stands for."""
AUTOMATIC1111_SAMPLERS = {name: sampler.alias for name, sampler in WEB_UI_SAMPLERS.items() if sampler.alias}
SIGMAS: dict[str, bool | None] = {"Automatic": None, "Uniform": False, "Karras": True}
"""AUTOMATIC1111's label of a scheduler -> `use_karras_sigmas`; None leaves it to the model. The name of a scheduler is
its label in small letters."""


def find_sampler(name: str) -> tuple[str, str]:
    """Return the name of a sampler as AUTOMATIC1111 lists it, and the label of the scheduler at its end, as its earlier
    versions name both together: `DPM++ 2M Karras`; "" without one. Raises InvalidRequest, `sampler_not_found`."""
    sent = name.strip().lower()
    for listed, alias in AUTOMATIC1111_SAMPLERS.items():
        for label in ("", *SIGMAS):
            if sent in (f"{listed} {label}".strip().lower(), f"{alias} {label}".strip().lower()):
                return listed, label
    raise InvalidRequest("Sampler not found", code="sampler_not_found", field="sampler_name", actual=name[:60])


def find_scheduler(name: str) -> str | None:
    """Return the label of a scheduler by its name or label; None for one that does not exist here."""
    return next((label for label in SIGMAS if label.lower() == name.strip().lower()), None)


def sampler_of(settings: Mapping[str, Any]) -> str:
    """Return the name of the sampler that painted with these resolved settings; the scheduler where it has none."""
    scheduler, algorithm = settings.get("scheduler") or "", settings.get("algorithm_type")
    names = [name for name, sampler in WEB_UI_SAMPLERS.items() if sampler.scheduler == scheduler]
    exact = [name for name in names if WEB_UI_SAMPLERS[name].algorithm_type == algorithm]
    return next(iter([*exact, *names]), str(scheduler))
