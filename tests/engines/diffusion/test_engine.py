"""The diffusion engine before torch is imported."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Step
from inpainting.engines.diffusion.engine import Diffusion
from tests.support.fakes import planned

if TYPE_CHECKING:
    from inpainting.engines.diffusion.serving.batcher import Batcher


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
