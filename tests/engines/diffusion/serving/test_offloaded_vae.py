"""accelerate's hooks offload a model in the middle of an image, and its VAE is still converted for each call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload_with_hook

from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware, Offload
from tests.engines.diffusion.pipelines import ignore_step
from tests.engines.diffusion.serving.batches import request
from tests.engines.diffusion.serving.devices import networks_of
from tests.support import tiny_models


@dataclass(frozen=True, slots=True)
class HookedDevice(Hardware):
    """The CPU, between whose two halves accelerate's hooks move each network."""

    @property
    def can_offload(self) -> bool:
        return True

    def offload(self, pipeline: Any, offload: Offload) -> None:
        previous = None
        for network in networks_of(pipeline):
            _, previous = cpu_offload_with_hook(network, self.device, previous)


@pytest.mark.parametrize("overflows", [True, False])
def test_a_vae_is_converted_beside_the_hooks(tmp_path: Path, overflows: bool) -> None:
    spec = tiny_models.saved(tmp_path / "model", "sdxl")
    engine = Batcher(ModelCache(HookedDevice(torch.device("cpu"), torch.float16), 10**9))
    model: Any = engine.cache.get(spec)
    model.vae.register_to_config(force_upcast=overflows)
    expected = engine.paint(request(), spec, ignore_step)[0][0]
    calls: list[int] = []

    def short(module: torch.nn.Module, arguments: Any) -> None:
        calls.append(len(arguments[0]))
        if len(calls) > 3 and model.offload is Offload.NONE:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.unet.register_forward_pre_hook(short)
    image, notes = engine.paint(request(), spec, ignore_step)
    assert model.offload is Offload.COMPONENTS
    assert all(hasattr(network, "_hf_hook") for network in networks_of(model.pipeline))
    assert model.vae.dtype == torch.float16
    assert np.abs(image[0].astype(int) - expected).max() <= 3
    assert any("parts of the model" in note for note in notes)
