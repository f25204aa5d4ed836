"""Transformers and text encoders in fp8 stay so in memory, and give bit for bit what their numbers in 16 bits give."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.serving import lora_fusion
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading import model_loading
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device import compilation
from inpainting.networks.device.float8 import Float8Linear, holds_float8, keep_float8
from inpainting.networks.device.hardware import Hardware, Offload
from tests.engines.diffusion import flux_files
from tests.engines.diffusion.compiling import Backend, stepped
from tests.engines.diffusion.pipelines import CPU, denoised, ignore_step
from tests.engines.diffusion.plain_flow import request
from tests.engines.diffusion.serving.devices import give_the_cpu_one_name
from tests.support import split_files, tiny_delta_loras, tiny_loras, tiny_models
from tests.support.matrix import each_value_once
from tests.support.split_files import SPLITS, Split, added, added_files, save

pytestmark = pytest.mark.django_db
HALF = Hardware(torch.device("cpu"), torch.bfloat16)
FLUX_1 = ("flux-dev", "flux-fill", "flux-kontext")
KINDS = ("e4m3fn", "e5m2", "scaled", "scaled by rows")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """Write the files of a family, with a component in a kind of fp8. Returns the model."""

    def write(family: str, kind: str, component: str = "transformer") -> ModelSpec:
        settings.MODELS_DIR = tmp_path / "models"
        if family in FLUX_1:
            flux_files.allow_tiny(monkeypatch)
            made = flux_files.saved(tmp_path / "whole", family)
            path = flux_files.save_file_of(made, tmp_path / f"{family}.safetensors")
            save(path, in_fp8(load_file(path), "_blocks.", kind))
            return added(family, path, config=made).spec
        whole, folder = tiny_models.saved(tmp_path / "whole", family).path, tmp_path / "comfyui"
        assert whole is not None
        split_files.publish(family, whole, monkeypatch)
        split: Split = split_files.write(family, whole, folder)
        path = split.path(folder, component)
        block = split.transformer_block if component == "transformer" else split.block
        save(path, in_fp8(load_file(path), block, kind))
        return added_files(family, split, folder).spec

    return write


def in_fp8(tensors: dict[str, torch.Tensor], block: str, kind: str) -> dict[str, torch.Tensor]:
    if kind == "scaled":
        return split_files.fp8(tensors, block, is_scaled=True)
    stored = dict(tensors)
    for name, tensor in tensors.items():
        if kind != "scaled by rows":
            stored[name] = tensor.to(getattr(torch, f"float8_{kind}"))
        elif tensor.ndim == 2 and block in name and name.endswith(".weight"):
            scale = tensor.abs().amax(dim=1, keepdim=True) / 448
            stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
            stored[f"{name.removesuffix('weight')}weight_scale"] = scale
    return stored


def in_whole(spec: ModelSpec, hardware: Hardware, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same model with its weights multiplied by their scales when it is loaded."""
    with monkeypatch.context() as patched:
        patched.setattr(model_loading, "keep_float8", lambda *_: None)
        return load(spec, hardware)


def requested(**changes: Any) -> Any:
    return request(strength=0.8, guidance_scale=3.0, **changes)


@pytest.mark.parametrize(("family", "kind"), each_value_once([*SPLITS, *FLUX_1], list(KINDS)))
def test_it_paints_bit_for_bit_as_in_16_bits(
    written: Any, family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = written(family, kind)
    for hardware in (CPU, HALF):
        small: Any = load(spec, hardware)
        whole: Any = in_whole(spec, hardware, monkeypatch)
        assert holds_float8(small.transformer)
        assert not holds_float8(whole.transformer)
        assert small.transformer.dtype == whole.transformer.dtype == hardware.dtype
        assert torch.equal(denoised(small, requested()), denoised(whole, requested()))


@pytest.mark.parametrize("family", [*SPLITS, *FLUX_1])
def test_every_matrix_of_the_blocks_takes_one_byte_a_number_as_predicted(
    written: Any, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = written(family, "e4m3fn")
    small: Any = load(spec, HALF)
    whole: Any = in_whole(spec, HALF, monkeypatch)
    matrices = [layer for layer in whole.transformer.modules() if type(layer) is torch.nn.Linear]
    kept = [layer for layer in small.transformer.modules() if isinstance(layer, Float8Linear)]
    assert len(kept) == len(matrices)
    saved = sum(layer.weight.numel() for layer in matrices)
    assert whole.byte_count - small.byte_count == saved
    predicted = weights_bytes(spec, torch.bfloat16)
    assert abs(predicted - small.byte_count) < 0.03 * small.byte_count
    assert predicted < weights_bytes(spec, torch.bfloat16, "int8") * 1.2


@pytest.mark.parametrize(("family", "kind"), each_value_once(list(SPLITS), list(KINDS)))
def test_a_text_encoder_reads_bit_for_bit_as_in_16_bits(
    written: Any, family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = written(family, kind, "text_encoder")
    for hardware in (CPU, HALF):
        small: Any = load(spec, hardware)
        whole: Any = in_whole(spec, hardware, monkeypatch)
        block = SPLITS[family].block
        layers = [layer for name, layer in small.pipeline.text_encoder.named_modules() if block in f"{name}."]
        assert all(isinstance(layer, Float8Linear) for layer in layers if isinstance(layer, torch.nn.Linear))
        assert holds_float8(small.pipeline.text_encoder)
        assert small.pipeline.text_encoder.dtype == hardware.dtype
        assert torch.equal(denoised(small, requested()), denoised(whole, requested()))
        assert small.byte_count < whole.byte_count
        assert abs(weights_bytes(spec, hardware.dtype) - small.byte_count) < 0.03 * small.byte_count


@pytest.mark.parametrize("kind", ["plain", "dora"])
def test_a_lora_changes_it_as_it_changes_16_bits(
    written: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = written("z-image", "scaled")
    pipeline = in_whole(spec, CPU, monkeypatch).pipeline
    if kind == "plain":
        tensors = tiny_loras.weights(pipeline, parts=["transformer"])
    else:
        tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(pipeline.transformer, "dora"))
        tensors = {name.replace("unet.", "transformer."): tensor for name, tensor in tensors.items()}
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
    lora = LoraSpec(slug="ink", label="Ink", family="z-image", digest="ink", path=path)
    paint = partial(requested, loras=(LoraUse("ink", 1.0),))
    small = Batcher(ModelCache(HALF, 10**9)).paint(paint(), spec, ignore_step, [lora])[0][0]
    without = Batcher(ModelCache(HALF, 10**9)).paint(requested(), spec, ignore_step)[0][0]
    with monkeypatch.context() as patched:
        patched.setattr(model_loading, "keep_float8", lambda *_: None)
        patched.setattr(lora_fusion, "is_fusable", lambda _: False)
        whole = Batcher(ModelCache(HALF, 10**9)).paint(paint(), spec, ignore_step, [lora])[0][0]
    assert (small == whole).all()
    assert (small != without).any()


@pytest.mark.parametrize("component", ["transformer", "text_encoder"])
@pytest.mark.parametrize("offload", [Offload.COMPONENTS, Offload.LAYERS])
def test_it_paints_the_same_in_parts(
    written: Any, offload: Offload, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_the_cpu_one_name(monkeypatch)
    spec = written("z-image", "scaled by rows", component)
    model, expected = load(spec, CPU, offload), denoised(load(spec, CPU), requested())
    assert torch.equal(denoised(model, requested()), expected)
    model.leave_device()
    model.enter_device(Offload.NONE)
    assert torch.equal(denoised(model, requested()), expected)


def test_it_is_compiled_where_that_is_asked_for_all_blocks_alone(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    monkeypatch.setitem(compilation.OPTIONS, "backend", backend)
    spec = written("qwen-image", "scaled")
    plain = load(spec, CPU)
    assert not load(spec, replace(CPU, compilation="transformers")).is_compiled
    fast = load(spec, replace(CPU, compilation="blocks"))
    for images in (1, 2):
        expected = stepped(plain, 64, 64, images)
        assert (stepped(fast, 64, 64, images) - expected).norm() <= 1e-5 * expected.norm()
    assert backend.graphs
    assert not fast.compilation_notes
    torch._dynamo.reset()


def test_the_samples_of_a_step_batch_are_those_of_16_bits(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = written("flux2-klein", "scaled")
    small, whole = load(spec, HALF), in_whole(spec, HALF, monkeypatch)
    assert torch.equal(stepped(small, 64, 64, 3), stepped(whole, 64, 64, 3))


def test_a_layer_that_would_change_stays_in_16_bits() -> None:
    layer = torch.nn.Linear(4, 3).requires_grad_(False)
    network = torch.nn.Sequential(layer)
    one = torch.ones(3, 1)
    for scale in (one, one * torch.nan, torch.ones(2, 1), torch.zeros(3, 1)):
        keep_float8(network, {"0.weight": scale})
        assert network[0] is layer
    layer.weight.copy_(layer.weight.to(torch.float8_e5m2))
    keep_float8(network, {"0.weight": one})
    assert isinstance(network[0], Float8Linear)
