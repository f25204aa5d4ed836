"""Fixtures for diffusion: one torch thread, because the models are tiny, and the models that several modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.sd.network import StableDiffusion
from inpainting.networks.network_cache import network_cache
from tests.engines.diffusion.pipelines import CPU, KINDS
from tests.support import tiny_models

OTHERS: dict[str, dict[str, Any]] = {"plain": {"inpainting": False}, "other": {"seed": 1}}
"""Models of the family `sd`: one that was not trained for inpainting, and one with other weights."""


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_other_networks() -> None:
    """The networks that other tests of the process have loaded would be evicted before a model."""
    network_cache.evict_to(str(CPU.device), 0)


class Specs(dict[str, ModelSpec]):
    """Tiny models, each saved when it is first asked for: one of each family by its name, and those of `OTHERS`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, name: str) -> ModelSpec:
        changed = OTHERS.get(name)
        family = name if changed is None else "sd"
        self[name] = tiny_models.saved(self.folder / name, family, **(changed or {}))
        return self[name]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    return Specs(tmp_path_factory.mktemp("models"))


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
