"""A catalog with a tiny model and adapters, and a fake diffusion engine that records its requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.diffusion.engine import Diffusion
from tests.adapter_folders import ip_adapter, network
from tests.catalog_entries import add_model
from tests.fakes import pretend_installed
from tests.hub import tiny_model, written

CONTROLS = ("inpaint", "canny", "depth", "scribble", "tile")


def install_models(scratch: Path) -> None:
    """The model “tiny”, a ControlNet by the name of each control, and the IP-Adapter “look”; all for sd."""
    add_model("tiny", written(tiny_model(), scratch / "tiny"))
    for control in CONTROLS:
        folder = network(scratch / control, _class_name="ControlNetModel")
        add_model(control, folder, "--kind", "controlnet", "--control", control)
    add_model("look", ip_adapter(scratch / "look"), "--kind", "ip-adapter")


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
