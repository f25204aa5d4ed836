"""The contract of engines for diffusion, and its steps before torch is imported."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Engine, Step
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.contracts.engine import EngineContract
from tests.engines.diffusion.pipelines import CPU
from tests.support import tiny_models
from tests.support.fakes import planned


class TestDiffusion(EngineContract):
    name = "diffusion"
    settings: ClassVar[dict[str, Any]] = {"prompt": "a red bus", "steps": 3, "strength": 1.0}

    def engine(self, folder: Path) -> tuple[Engine, ModelSpec | None]:
        engine = Diffusion()
        engine.__dict__["_batcher"] = Batcher(ModelCache(CPU, 10**9), max_rows=4)
        return engine, tiny_models.saved(folder / "sd")


def test_steps_are_reported_while_torch_is_imported() -> None:
    reported = threading.Event()

    class SlowToImport(Diffusion):
        @property
        def batcher(self) -> Batcher:
            assert reported.wait(30)
            raise EngineFailed("imported")

    request = InpaintRequest(CanonicalImage(np.zeros((8, 8, 3), np.uint8)), np.full((8, 8), 255, np.uint8))
    engine = SlowToImport()
    model = ModelSpec(slug="tiny", label="Tiny", family="sd")

    def on_step(step: Step) -> None:
        reported.set()

    with pytest.raises(EngineFailed, match="imported"):
        engine.inpaint(planned(request, engine, model), on_step)
