"""The names of samplers and schedulers in AUTOMATIC1111, and the settings that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inpainting.api.samplers import SDE, WEB_UI_SCHEDULERS
from inpainting.core.errors import InvalidRequest

ALIASES = {
    "DPM++ 2M": "k_dpmpp_2m",
    "DPM++ SDE": "k_dpmpp_sde",
    "DPM++ 2M SDE": "k_dpmpp_2m_sde",
    "Euler a": "k_euler_a",
    "Euler": "k_euler",
    "LMS": "k_lms",
    "Heun": "k_heun",
    "DPM2": "k_dpm_2",
    "DPM2 a": "k_dpm_2_a",
    "DDIM": "ddim",
    "PLMS": "plms",
    "UniPC": "unipc",
    "LCM": "k_lcm",
}
"""Name of a sampler, in the order of the list -> its alias."""
SCHEDULERS: dict[str, bool | None] = {"Automatic": None, "Uniform": False, "Karras": True}
"""Label -> `use_karras_sigmas`; None leaves it to the model. The name is the label in small letters."""


def find_sampler(name: str) -> tuple[str, str]:
    """Return the name of a sampler as it is listed, and the label of the scheduler at its end, as earlier versions of
    the service name both together: `DPM++ 2M Karras`; "" without one. Raises InvalidRequest, `sampler_not_found`."""
    names = {**{listed.lower(): listed for listed in ALIASES}, **{alias: listed for listed, alias in ALIASES.items()}}
    for label in ("", *SCHEDULERS):
        sampler = name.strip().lower().removesuffix(f" {label.lower()}" if label else "")
        if sampler in names and (not label or sampler != name.strip().lower()):
            return names[sampler], label
    raise InvalidRequest("Sampler not found", code="sampler_not_found", field="sampler_name", actual=name[:60])


def find_scheduler(name: str) -> str | None:
    """Return the label of a scheduler by its name or label; None for one that does not exist here."""
    return next((label for label in SCHEDULERS if label.lower() == name.strip().lower()), None)


def sampler_of(settings: Mapping[str, Any]) -> str:
    """Return the name of the sampler that painted with these resolved settings; the scheduler where it has none."""
    scheduler = settings.get("scheduler") or ""
    if settings.get("algorithm_type") == SDE and scheduler == WEB_UI_SCHEDULERS["DPM++ 2M SDE"]:
        return "DPM++ 2M SDE"
    return next((name for name in ALIASES if WEB_UI_SCHEDULERS[name] == scheduler), str(scheduler))
