"""Evicted models wait in the machine's memory, and models for which memory was short are whole again afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting import metrics
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.engines.diffusion.serving import host_memory
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.host_memory import HostMemory
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Offload
from tests.engines.diffusion.pipelines import CPU, SIDE, ignore_step
from tests.engines.diffusion.serving.batches import request
from tests.engines.diffusion.serving.devices import CountingDevice
from tests.support import tiny_models

OWN_SIZE, LARGER = Size(SIDE, SIDE), Size(2 * SIDE, SIDE)


@pytest.fixture
def device() -> CountingDevice:
    return CountingDevice(torch.device("cpu"), torch.float32, capacity=10**9)


def batcher(device: CountingDevice, budget_bytes: int = 10**9, share: float = 0.5) -> Batcher:
    return Batcher(ModelCache(device, budget_bytes, host_memory=HostMemory(share)))


def loads(slug: str, source: str) -> float:
    (metric,) = metrics.MODEL_LOAD_SECONDS.labels(slug, source).collect()
    samples = metric.samples
    return next(sample.value for sample in samples if sample.name.endswith("_count"))


@pytest.mark.parametrize("share", [0.5, 0])
def test_an_evicted_model_comes_back_without_its_files(
    specs: dict[str, ModelSpec], device: CountingDevice, share: float
) -> None:
    engine = batcher(device, weights_bytes(specs["sd"], torch.float32) + 1, share)
    before = {source: loads("sd", source) for source in ("disk", "memory")}
    images = [engine.paint(request(), specs[name], ignore_step)[0][0] for name in ("sd", "other", "sd")]
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
    assert [model.spec.slug for model in engine.cache.models] == ["sd"]
    count = {source: loads("sd", source) - before[source] for source in before}
    assert count == ({"disk": 1, "memory": 1} if share else {"disk": 2, "memory": 0})


def test_files_that_were_replaced_are_read(tmp_path: Path, device: CountingDevice, specs: dict[str, ModelSpec]) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    engine = batcher(device, 1)
    before = engine.paint(request(), spec, ignore_step)[0][0]
    engine.paint(request(), specs["sd"], ignore_step)
    tiny_models.saved(tmp_path / "one", seed=5)
    assert not np.array_equal(engine.paint(request(), spec, ignore_step)[0][0], before)


def test_of_a_model_whose_files_were_replaced_only_the_last_version_is_kept(specs: dict[str, ModelSpec]) -> None:
    memory, versions = HostMemory(0.5), [load(specs["sd"], CPU) for _ in range(3)]
    for number, model in enumerate(versions):
        model.fingerprint = number
        memory.keep(model)
    assert memory.byte_count == versions[-1].byte_count
    assert memory.take("sd", 0) is None
    assert memory.byte_count == 0, "a request for other files drops it"


def test_a_model_that_leaves_the_device_takes_no_encodings_along(specs: dict[str, ModelSpec]) -> None:
    engine = Batcher(ModelCache(CPU, 10**9))
    engine.paint(request(), specs["sd"], ignore_step)
    model = engine.cache.get(specs["sd"])
    assert model._texts._encodings
    assert model._images._encodings
    model.leave_device()
    assert not model._texts._encodings
    assert not model._images._encodings


def test_no_more_is_kept_than_a_share_of_the_free_memory(
    specs: dict[str, ModelSpec], device: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [load(spec, device) for spec in (specs["sd"], specs["other"])]
    for number, model in enumerate(models):
        model.fingerprint = number
    first, second = models
    free = 2 * first.byte_count + 1000
    memory = HostMemory(0.5)
    monkeypatch.setattr(host_memory, "free_machine_bytes", lambda: free - memory.byte_count)
    memory.keep(first)
    memory.keep(second)
    assert memory.take(first.spec.slug, 0) is None
    assert memory.take(second.spec.slug, 1) is second
    free = first.byte_count
    memory.keep(first)
    assert memory.take(first.spec.slug, 0) is None


def test_kept_models_give_way_to_one_that_is_being_read(
    specs: dict[str, ModelSpec], device: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {name: load(spec, device) for name, spec in (("sd", specs["sd"]), ("other", specs["other"]))}
    size = max(model.byte_count for model in kept.values())
    memory = HostMemory(0.5)
    monkeypatch.setattr(host_memory, "free_machine_bytes", lambda: 6 * size - memory.byte_count)
    for model in kept.values():
        memory.keep(model)
    memory.make_room(size)
    assert memory.byte_count == sum(model.byte_count for model in kept.values())
    memory.make_room(3 * size)  # of the 3 sizes that are left, half may be kept
    assert memory.byte_count == kept["other"].byte_count
    memory.make_room(10 * size)
    assert memory.byte_count == 0


def test_models_that_were_removed_leave_the_machines_memory_when_the_next_is_read(
    tmp_path: Path, specs: dict[str, ModelSpec], device: CountingDevice
) -> None:
    engine = batcher(device, 1)
    removed = tiny_models.saved(tmp_path / "removed")
    engine.paint(request(), removed, ignore_step)
    engine.paint(request(), specs["sd"], ignore_step)
    assert list(engine.cache.memory.host_memory._models) == ["removed"]
    assert removed.path is not None
    shutil.rmtree(removed.path)
    engine.paint(request(), specs["other"], ignore_step)
    assert list(engine.cache.memory.host_memory._models) == ["sd"]


def test_a_smaller_image_is_painted_as_before_memory_was_short(specs: dict[str, ModelSpec]) -> None:
    engine = Batcher(ModelCache(CPU, 10**9))
    model = engine.cache.get(specs["sd"])
    for size, is_reduced in ((OWN_SIZE, True), (LARGER, False)):
        while model.reduce_memory(size):
            pass
        _, notes = engine.paint(request(), specs["sd"], ignore_step)
        assert any("Memory was short" in note for note in notes) is is_reduced
        assert model.is_tiled is is_reduced
        assert (model.rows_per_call is not None) is is_reduced
        model.stop_reducing()


@pytest.mark.parametrize("has_room", [True, False])
def test_an_offloaded_model_is_whole_again_when_there_is_room(
    specs: dict[str, ModelSpec], device: CountingDevice, has_room: bool
) -> None:
    engine = batcher(device)
    model: Any = engine.cache.get(specs["sd"])
    expected = engine.paint(request(), specs["sd"], ignore_step)[0][0]
    model.reduce_memory(LARGER)
    model.offload_to(Offload.COMPONENTS)
    device.placed.clear()
    if not has_room:
        engine.cache.hardware = CountingDevice(device.device, device.dtype, capacity=model.byte_count)
    image, notes = engine.paint(request(), specs["sd"], ignore_step)
    assert np.array_equal(image[0], expected)
    assert device.placed == ([Offload.NONE] if has_room else [])
    assert any("Memory was short" in note for note in notes) is not has_room
