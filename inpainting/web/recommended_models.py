"""What pages show of the recommended models: for the machine that serves them, or for one that somebody chose."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest

from inpainting import families
from inpainting.catalog.shipped_recommendations import Machine, recommendations
from inpainting.catalog.specs import Kind
from inpainting.models import InferenceModel
from inpainting.networks.device.memory import CUDA, cuda_devices_bytes, machine_memory_bytes

GB = 2**30
MACHINES = {
    "cpu": ("A computer without an NVIDIA GPU", Machine(16 * GB)),
    **{f"gpu{size}": (f"An NVIDIA GPU with {size} GB", Machine(16 * GB, size * GB)) for size in (8, 16, 24, 48, 80)},
}
"""Value of the form -> the words and the memory of a machine that somebody may have."""


class MachineForm(forms.Form):
    machine = forms.ChoiceField(
        required=False, label="For", choices=[(name, words) for name, (words, _) in MACHINES.items()]
    )

    def __init__(self, query: Any, *, own: Machine) -> None:
        super().__init__(query, label_suffix="")
        self.own = own
        where = "This machine" if settings.IS_ALONE else "The machine of these pages"
        self.fields["machine"].choices = [  # type: ignore[attr-defined]  # it is a ChoiceField
            ("", f"{where}: {words_for(own)}"),
            *((name, words) for name, (words, _) in MACHINES.items()),
        ]

    @property
    def chosen(self) -> Machine:
        self.is_valid()
        _, machine = MACHINES.get(self.cleaned_data.get("machine") or "", ("", self.own))
        return machine


def recommended(request: HttpRequest, models: Iterable[InferenceModel]) -> Mapping[str, Any]:
    """Return what `recommended_models.html` needs."""
    models = list(models)
    engines = {family.name: family.engine for family in families.registered_families()}
    form = MachineForm(request.GET, own=own_machine())
    has_token = bool(os.environ.get("HF_TOKEN"))
    return {
        "machine_form": form,
        "may_change": is_administrator(request.user, "inpainting.change_inferencemodel"),
        "is_alone": settings.IS_ALONE,
        "recommendations": [
            {
                "advice": advice,
                "others": [
                    model
                    for model in models
                    if model != advice.model
                    and model.kind == Kind.CHECKPOINT
                    and engines.get(model.family) == advice.job.engine
                    and model.enabled
                    and model.is_installed
                ],
            }
            for advice in recommendations(models, form.chosen, has_token=has_token)
        ],
    }


def is_administrator(user: Any, permission: str) -> bool:
    return bool(user.is_staff and user.has_perm(permission))


def own_machine() -> Machine:
    """Return the memory of the machine and of the CUDA device that the settings name. Imports no torch."""
    device, _, number = settings.DIFFUSION_DEVICE.partition(":")
    gpus = cuda_devices_bytes() if device in ("auto", CUDA) else ()
    index = int(number) if number.isdigit() else 0
    return Machine(machine_memory_bytes(), gpus[index] if index < len(gpus) else 0)


def words_for(machine: Machine) -> str:
    memory = f"{machine.memory_bytes / GB:.0f} GB of memory"
    return f"{memory}, {f'a GPU with {machine.gpu_bytes / GB:.0f} GB' if machine.gpu_bytes else 'no NVIDIA GPU'}"
