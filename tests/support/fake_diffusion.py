"""A catalog with a tiny model and adapters, and a fake diffusion engine that records its requests."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.test import override_settings
from numpy.typing import NDArray

from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.models import InferenceModel, Lora
from tests.support import scratch
from tests.support.adapter_folders import ip_adapter, network
from tests.support.catalog_entries import add_model
from tests.support.fakes import pretend_installed
from tests.support.hub import tiny_model, written

CONTROLS = ("inpaint", "canny", "depth", "scribble", "tile")


def install_models() -> None:
    """The model “tiny”, a ControlNet by the name of each control, and the IP-Adapter “look”; all for sd."""
    files, rows = added_models()
    shutil.copytree(files, settings.MODELS_DIR, dirs_exist_ok=True)
    InferenceModel.objects.bulk_create(InferenceModel(**row) for row in rows)


@cache
def install_models_and_adapters(folder: Path) -> None:
    """Install what `install_models` does, and the LoRA `ink` and the VAE `small` of the family of the tiny model.

    folder: for the files of the VAE.
    """
    install_models()
    ink = Lora.objects.create(slug="ink", label="Ink", family="sd", sha256="0" * 64, size_bytes=1)
    ink.path.parent.mkdir(parents=True)
    ink.path.touch()
    add_model("small", network(folder / "small", _class_name="AutoencoderTiny"), "--kind", "vae")


def added_models() -> tuple[Path, list[dict[str, Any]]]:
    """The files and the rows of these models as the commands add them, which takes longer than most tests."""
    folder = Path(scratch.folder("dreamlayer-models-"))
    with override_settings(MODELS_DIR=folder / "models"):
        added = [add_model("tiny", written(tiny_model(), folder / "tiny"))]
        for control in CONTROLS:
            origin = network(folder / control, _class_name="ControlNetModel")
            added.append(add_model(control, origin, "--kind", "controlnet", "--control", control))
        added.append(add_model("look", ip_adapter(folder / "look"), "--kind", "ip-adapter"))
    own = InferenceModel.objects.filter(pk__in=[model.pk for model in added])
    rows = [{name: value for name, value in row.items() if name != "id"} for row in own.values()]
    own.delete()
    return folder / "models", rows


def record_requests(monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """Replace the diffusion engine by a fake that returns its input; return the list of its requests."""
    requests: list[InpaintRequest] = []

    def inpaint(self: Diffusion, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        requests.append(plan.request)
        on_step(Step(1, 1))
        return [np.array(plan.request.image.pixels, np.uint8) for _ in range(plan.settings.num_images)]

    pretend_installed(monkeypatch, "torch")
    monkeypatch.setattr(Diffusion, "inpaint", inpaint)
    return requests
