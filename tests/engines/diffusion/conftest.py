"""Fixtures for diffusion: one torch thread, because the models are tiny, and the models that several modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from inpainting.engines.diffusion.serving.model_loading import load
from inpainting.families.sd.network import StableDiffusion
from tests.engines.diffusion.pipelines import CPU, KINDS
from tests.support import tiny_models


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], StableDiffusion]:
    """A loaded model of each of `KINDS`."""
    folder = tmp_path_factory.mktemp("models")
    return {
        (family, inpainting): load(
            tiny_models.saved(folder / f"{family}-{inpainting}".lower(), family, inpainting=inpainting), CPU
        )
        for family, inpainting in KINDS
    }
