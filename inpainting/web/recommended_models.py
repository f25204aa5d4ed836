"""What pages show of the recommended models: for the machine that serves them, or for one that somebody chose."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy

from accounts.administrators import is_administrator
from inpainting import families
from inpainting.catalog.shipped_recommendations import Machine, Recommendation, recommendations
from inpainting.catalog.specs import Kind
from inpainting.models import InferenceModel
from inpainting.networks.device.memory import gpu_bytes, machine_memory_bytes

GB = 2**30
MACHINES = {"cpu": Machine(16 * GB), **{f"gpu{size}": Machine(16 * GB, size * GB) for size in (8, 16, 24, 48, 80)}}
"""Value of the form -> the memory of a machine that somebody may have."""


class MachineForm(forms.Form):
    machine = forms.ChoiceField(required=False, label=gettext_lazy("For"), choices=[(name, name) for name in MACHINES])

    def __init__(self, query: Any, *, own: Machine) -> None:
        super().__init__(query, label_suffix="")
        self.own = own
        where = gettext("This machine") if settings.IS_ALONE else gettext("The machine of these pages")
        self.fields["machine"].choices = [  # type: ignore[attr-defined]  # it is a ChoiceField
            ("", f"{where}: {words_for(own)}"),
            *((name, kind_of(machine)) for name, machine in MACHINES.items()),
        ]

    @property
    def chosen(self) -> Machine:
        self.is_valid()
        return MACHINES.get(self.cleaned_data.get("machine") or "", self.own)


def recommended(request: HttpRequest, models: Iterable[InferenceModel]) -> Mapping[str, Any]:
    """Return what `recommended_models.html` needs."""
    models = list(models)
    engines = {family.name: family.engine for family in families.registered_families()}
    form = MachineForm(request.GET, own=own_machine())
    has_token = any(os.environ.get(name) for name in ("HF_TOKEN", "HF_TOKEN_PATH"))
    return {
        "machine_form": form,
        "may_change": is_administrator(request.user, "inpainting.change_inferencemodel"),
        "is_alone": settings.IS_ALONE,
        "recommendations": [
            entry(
                advice,
                [
                    model
                    for model in models
                    if model != advice.model
                    and model.kind == Kind.CHECKPOINT
                    and engines.get(model.family) == advice.job.engine
                    and model.enabled
                    and model.is_installed
                ],
            )
            for advice in recommendations(models, form.chosen, has_token=has_token)
        ],
    }


def entry(advice: Recommendation, others: list[InferenceModel]) -> dict[str, Any]:
    """Return a recommendation, the other models that do the job here, and the sentences that name them."""
    model = advice.model
    names = [other.label for other in others]
    able = [model.label, *names] if model is not None and model.is_installed else names
    return {
        "advice": advice,
        "others": others,
        "painted_by": gettext("By {names}.").format(names=", ".join(able)),
        "here_already": gettext("Here already: {names}.").format(names=", ".join(names)),
    }


def own_machine() -> Machine:
    """Return the memory of the machine and of the CUDA device that the settings name. Imports no torch."""
    return Machine(machine_memory_bytes(), gpu_bytes(settings.DIFFUSION_DEVICE))


def kind_of(machine: Machine) -> str:
    if not machine.gpu_bytes:
        return gettext("A computer without an NVIDIA GPU")
    return gettext("An NVIDIA GPU with {size} GB").format(size=machine.gpu_bytes // GB)


def words_for(machine: Machine) -> str:
    memory, gpu_memory = f"{machine.memory_bytes / GB:.0f}", f"{machine.gpu_bytes / GB:.0f}"
    if not machine.gpu_bytes:
        return gettext("{memory} GB of memory, no NVIDIA GPU").format(memory=memory)
    return gettext("{memory} GB of memory, a GPU with {gpu_memory} GB").format(memory=memory, gpu_memory=gpu_memory)
