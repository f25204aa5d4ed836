"""Models are loaded beside the steps of others, and in parts where the device's memory is too small for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware, Offload, is_device_lost, is_out_of_memory
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import UNetCalls, request, wait_until
from tests.engines.diffusion.serving.devices import CountingDevice, byte_count, leaves, networks_of
from tests.support import original_layout, tiny_models
from tests.support.matrix import first_alone

LOAD = "inpainting.engines.diffusion.serving.loading.loads.load"


class HeldLoad:
    """Loads a model when `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, spec: ModelSpec, hardware: Hardware, offload: Offload) -> Any:
        self.begun.set()
        assert self.go.wait(60)
        return load(spec, hardware, offload)


@pytest.mark.parametrize("is_early", [False, True])
def test_images_are_painted_while_another_model_is_loaded(
    specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch, is_early: bool
) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9))
    calls = UNetCalls(batcher, specs["sd"], held=True)
    held = HeldLoad()
    monkeypatch.setattr(LOAD, held)
    with ThreadPoolExecutor(2) as pool:
        painting = pool.submit(batcher.paint, request(), specs["sd"], ignore_step)
        assert calls.begun.wait(30)
        if is_early:
            batcher.warm(specs["other"])
        else:
            waiting = pool.submit(batcher.paint, request(), specs["other"], ignore_step)
        wait_until(lambda: batcher.arrival_count == 1)
        calls.go.set()
        try:
            assert held.begun.wait(30)
            assert len(painting.result(60)[0]) == 1
            again = batcher.paint(request(), specs["sd"], ignore_step)
            assert len(again[0]) == 1, "also what arrives while nothing else is painted"
        finally:
            held.go.set()
        if is_early:
            wait_until(lambda: batcher.cache.loaded(specs["other"]) is not None)
        else:
            assert len(waiting.result(60)[0]) == 1


@pytest.mark.parametrize("is_slow", [True, False])
def test_a_model_loaded_early_takes_a_step_and_decodes_where_the_first_step_is_slow(
    specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    monkeypatch.setattr(Hardware, "has_slow_first_step", is_slow)
    batcher = Batcher(ModelCache(CPU, 10**9))
    model, spec = batcher.cache.get(specs["sd"]), specs["sd"]
    sizes: list[torch.Size] = []
    decoded: list[int] = []
    model.unet.register_forward_pre_hook(lambda module, given: sizes.append(given[0].shape))
    model.vae.decoder.register_forward_pre_hook(lambda module, given: decoded.append(len(given[0])))
    batcher.warm(spec)
    wait_until(lambda: batcher.arrival_count == 0 and batcher.is_idle)
    assert sizes == [(2, 9, spec.height // 8, spec.width // 8)] * is_slow
    assert decoded == [1] * is_slow
    batcher.paint(request(), spec, ignore_step)
    assert len(decoded) == 1 + is_slow


@pytest.mark.parametrize("failing", ["load", "paint"])
def test_a_model_that_is_not_ready_for_its_first_request_is_reported_until_it_paints(
    specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    monkeypatch.setattr(Hardware, "has_slow_first_step", True)
    spec, broken = specs["sd"], threading.Event()
    batcher = Batcher(ModelCache(CPU, 10**9))
    broken.set()

    def load_broken(*arguments: Any) -> Any:
        if failing == "load" and broken.is_set():
            raise EngineFailed("It is damaged.", code="model_unavailable")
        model = load(*arguments)

        def break_off(*_: Any) -> None:
            if broken.is_set():
                raise EngineFailed("It computes nothing.", code="model_failed")

        model.unet.register_forward_pre_hook(break_off)
        return model

    monkeypatch.setattr(LOAD, load_broken)
    batcher.warm(spec)
    wait_until(lambda: bool(batcher.early_failures))
    reason = "It is damaged." if failing == "load" else "it is loaded and does not paint: It computes nothing."
    assert batcher.early_failures == {"sd": reason}
    assert f"sd is not ready for its first request: {reason}" in caplog.text
    wait_until(lambda: batcher.is_idle)
    broken.clear()
    batcher.paint(request(), spec, ignore_step)
    assert not batcher.early_failures


def test_a_model_that_nobody_waits_for_any_more_leaves_room_for_the_next(
    specs: dict[str, ModelSpec], tmp_path: Path
) -> None:
    cache = ModelCache(CPU, 10**9)
    next_spec = specs["sd"]  # Made now: beside a model that is being loaded, its weights would have no values.
    cache.prepare(specs["other"])
    model = cache.get(next_spec)
    assert cache.models[-1] is model
    assert cache.loaded(specs["other"]) is not None


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux-fill", "file"])
def test_loading_leaves_the_default_dtype_of_other_threads_and_gives_weights_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    if family == "file":
        pipeline = tiny_models.sd(tmp_path)
        pipeline.save_pretrained(tmp_path / "folder")
        path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
        copy_configuration(tmp_path / "folder", "sd", path)
        spec = spec_of(path, "sd")
    else:
        spec = tiny_models.saved(tmp_path / "model", family)
    seen = set()
    begin = torch.nn.Module.__init__

    def watched(module: torch.nn.Module, *args: Any, **more: Any) -> None:
        seen.add(another.submit(lambda: torch.empty(0).dtype).result())
        begin(module, *args, **more)

    with ThreadPoolExecutor(1) as another:
        monkeypatch.setattr(torch.nn.Module, "__init__", watched)
        model = load(spec, Hardware(torch.device("cpu"), torch.bfloat16))
    assert seen == {torch.float32}
    networks = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.bfloat16}


# A device whose memory is small


def painted_on(capacity: int, spec: ModelSpec) -> tuple[Any, tuple[str, ...]]:
    device = CountingDevice(torch.device("cpu"), torch.float32, capacity=capacity)
    return Batcher(ModelCache(device, 10**9)).paint(request(), spec, ignore_step)


@pytest.mark.parametrize("waiting", ["nothing", "parts", "layers"])
def test_a_model_too_large_for_the_device_is_painted_with_in_parts(specs: dict[str, ModelSpec], waiting: str) -> None:
    whole = Batcher(ModelCache(CPU, 10**9))
    expected = whole.paint(request(), specs["sd"], ignore_step)[0][0]
    networks = networks_of(whole.cache.get(specs["sd"]).pipeline)
    capacities = {
        "nothing": sum(map(byte_count, networks)),
        "parts": max(map(byte_count, networks)),
        "layers": max(byte_count(leaf) for network in networks for leaf in leaves(network)),
    }
    images, notes = painted_on(capacities[waiting], specs["sd"])
    assert np.abs(images[0].astype(int) - expected).max() <= 1
    assert any(f"{waiting} of the model" in note for note in notes) is (waiting != "nothing")


def test_a_device_too_small_for_one_layer_refuses_the_model(specs: dict[str, ModelSpec]) -> None:
    with pytest.raises(EngineFailed) as failed:
        painted_on(100, specs["sd"])
    assert failed.value.code == "gpu_out_of_memory"


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
def test_rows_are_computed_one_after_another_before_a_guided_image_is_refused(tmp_path: Path, family: str) -> None:
    spec = tiny_models.saved(tmp_path / "model", family)
    expected = Batcher(ModelCache(CPU, 10**9)).paint(request(), spec, ignore_step)[0][0]
    batcher = Batcher(ModelCache(CPU, 10**9))
    rows = []

    def short(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        rows.append(len(arguments[0]))
        if len(arguments[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    batcher.cache.get(spec).unet.register_forward_pre_hook(short)
    images, notes = batcher.paint(request(), spec, ignore_step)
    assert np.abs(images[0].astype(int) - expected).max() <= 1
    assert rows[:2] == [2, 2]
    assert set(rows[2:]) == {1}
    assert any("one after another" in note for note in notes)


MESSAGES = {
    "memory": [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":1131',
    ],
    "unsupported": [
        "CUDA error: no kernel image is available for execution on the device",
        "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx(...)`",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
        "CUDA error: invalid argument",
        "CUDA error: invalid configuration argument",
        "CUDA error: operation not permitted when stream is capturing",
        "CUDA error: operation failed due to a previous error during capture",
        "Expected all tensors to be on the same device",
    ],
    "lost": [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
        "CUDA error: unspecified launch failure",
    ],
}


@pytest.mark.parametrize(("kind", "message"), [(kind, one) for kind, several in MESSAGES.items() for one in several])
def test_errors_of_the_device_are_told_apart(kind: str, message: str) -> None:
    error = RuntimeError(message)
    assert is_out_of_memory(error) is (kind == "memory")
    assert is_device_lost(error) is (kind == "lost")
