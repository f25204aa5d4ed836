"""Quantised networks give nearly the same picture from fewer bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import LoraSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion import quantization
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.quantization import QUANTIZATIONS
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.model_loading import load, weights_bytes
from tests import original_layout, tiny_delta_loras, tiny_loras, tiny_models
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.pipelines import CPU, ignore_step, request

with_torchao = pytest.mark.skipif(not quantization.is_installed(), reason="torchao is not installed")


def hardware(word: str) -> Hardware:
    return Hardware(torch.device("cpu"), torch.float32, word)


@with_torchao
@pytest.mark.parametrize("word", QUANTIZATIONS)
@pytest.mark.parametrize("family", ["sd", "flux-fill", "file"])
def test_a_quantised_network_takes_fewer_bytes_for_nearly_the_same_picture(
    tmp_path: Path, family: str, word: str
) -> None:
    spec = tiny_models.saved(tmp_path / "model", "sd" if family == "file" else family)
    if family == "file":
        path = original_layout.saved(tiny_models.sd(tmp_path), tmp_path / "one" / "mine.safetensors")
        copy_configuration(tmp_path / "model", "sd", path)
        spec = spec_of(path, "sd")
    scheduler = "FlowMatchEulerDiscreteScheduler" if family == "flux-fill" else "DDIMScheduler"
    requested = request(scheduler=scheduler, strength=1.0, negative_prompt="")
    whole, small = (Batcher(ModelCache(one, 10**9)) for one in (CPU, hardware(word)))
    expected = whole.paint(requested, spec, ignore_step)[0][0].astype(int)
    difference = np.abs(small.paint(requested, spec, ignore_step)[0][0] - expected)
    assert 0 < difference.mean() < 3
    bytes_of = [one.cache.get(spec).byte_count for one in (whole, small)]
    assert bytes_of[1] < bytes_of[0]
    predicted = weights_bytes(spec, torch.float32, word)
    assert abs(predicted - bytes_of[1]) < 0.1 * bytes_of[1]


@with_torchao
@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear")
def test_a_lora_changes_a_quantised_network(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tiny_loras.weights(load(spec, CPU).pipeline))
    lora = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    pictures = [
        Batcher(ModelCache(one, 10**9)).paint(
            request(loras=(LoraUse("ink"),), strength=1.0), spec, ignore_step, [lora]
        )[0][0]
        for one in (CPU, hardware("int8"))
    ]
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() < 3


@with_torchao
def test_a_dora_reads_the_weights_of_a_quantised_network(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(load(spec, CPU).pipeline.unet, "dora"))
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
    lora = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    whole, small = (
        Batcher(ModelCache(one, 10**9)).paint(
            request(loras=(LoraUse("ink"),), strength=1.0), spec, ignore_step, [lora]
        )[0][0]
        for one in (CPU, hardware("int8"))
    )
    assert np.abs(whole.astype(int) - small).mean() < 3


def test_without_the_library_the_error_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setattr(quantization, "is_installed", lambda: False)
    with pytest.raises(EngineFailed, match="pip install torchao") as failed:
        load(tiny_models.saved(tmp_path / "model"), hardware("int8"))
    assert failed.value.code == "model_unavailable"
