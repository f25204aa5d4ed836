"""A catalog with a tiny model and adapters, and a fake diffusion engine that records its requests."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command
from numpy.typing import NDArray

from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.diffusion.engine import Diffusion
from tests.adapter_folders import ip_adapter, network
from tests.fakes import pretend_installed
from tests.hub import tiny_model, written

CONTROLS = ("inpaint", "canny", "depth", "scribble", "tile")


def add(slug: str, folder: Path, *more: str) -> None:
    call_command("add_model", slug, "--family", "sd", "--from", str(folder), *more, stdout=StringIO())


def install(scratch: Path) -> None:
    """The model “tiny”, a ControlNet by the name of each control, and the IP-Adapter “look”; all for sd."""
    add("tiny", written(tiny_model(), scratch / "tiny"))
    for control in CONTROLS:
        folder = network(scratch / control, _class_name="ControlNetModel")
        add(control, folder, "--kind", "controlnet", "--control", control)
    add("look", ip_adapter(scratch / "look"), "--kind", "ip-adapter")


def watch(monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """Replace the diffusion engine by a fake that returns its input; return the list of its requests."""
    requests: list[InpaintRequest] = []

    def inpaint(self: Diffusion, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        requests.append(plan.request)
        on_step(Step(1, 1))
        return [np.array(plan.request.image.pixels, np.uint8) for _ in range(plan.settings.num_images)]

    pretend_installed(monkeypatch, "torch")
    monkeypatch.setattr(Diffusion, "inpaint", inpaint)
    return requests
