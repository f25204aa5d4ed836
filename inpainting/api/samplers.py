"""The names of samplers in ComfyUI and in web UIs, which clients of several services send, and what they stand for."""

from __future__ import annotations

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
WEB_UI_SCHEDULERS = {
    "DPM++ 2M": "DPMSolverMultistepScheduler",
    "DPM++ SDE": "DPMSolverSinglestepScheduler",
    "DPM++ 2M SDE": "DPMSolverMultistepScheduler",
    "Euler a": "EulerAncestralDiscreteScheduler",
    "Euler": "EulerDiscreteScheduler",
    "LMS": "LMSDiscreteScheduler",
    "Heun": "HeunDiscreteScheduler",
    "DPM2": "KDPM2DiscreteScheduler",
    "DPM2 a": "KDPM2AncestralDiscreteScheduler",
    "DDIM": "DDIMScheduler",
    "PLMS": "PNDMScheduler",
    "PNDM": "PNDMScheduler",
    "UniPC": "UniPCMultistepScheduler",
    "LCM": "LCMScheduler",
}
"""Name in AUTOMATIC1111's web UI or in IOPaint -> the scheduler of diffusers."""


def web_ui_settings(name: str) -> dict[str, str]:
    """Return the settings of a sampler of WEB_UI_SCHEDULERS."""
    return {"scheduler": WEB_UI_SCHEDULERS[name], **({"algorithm_type": SDE} if name.endswith(" 2M SDE") else {})}
