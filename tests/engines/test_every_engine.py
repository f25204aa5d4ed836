"""Every engine is held to the contract."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="diffusion is not installed")
pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

from inpainting.engines import registry
from tests.contracts.engine import EngineContract
from tests.engines.diffusion import test_engine as diffusion
from tests.engines.erase import test_engine as erase
from tests.engines.quick_fill import test_engine as quick_fill


def test_every_engine_has_a_class_of_tests() -> None:
    classes: tuple[type[EngineContract], ...] = (quick_fill.TestQuickFill, erase.TestLama, diffusion.TestDiffusion)
    assert {tests.name for tests in classes} == set(registry.engines())
