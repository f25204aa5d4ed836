"""Networks in memory: each is loaded once, stays by use and size, and its load holds up no other network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from inpainting import families
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import DeviceLost, EngineFailed
from inpainting.networks import network_cache as module
from inpainting.networks.device import choice
from inpainting.networks.device.choice import computing_on, current_device, or_on_cpu
from inpainting.networks.device.memory import CPU, machine_memory_bytes
from inpainting.networks.network_cache import NetworkCache, limit_bytes

SPEC = ModelSpec(slug="counted-tool", label="Counted tool", family="u2net")
SIZE = 100
"""Bytes of each network's file."""
GPU = "cuda"


class Loads:
    """A loader of networks that are the names of their files. It notes each name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def path(self, name: str, size: int = SIZE) -> Path:
        path = self.folder / f"{name}.onnx"
        if not path.exists():
            path.write_bytes(bytes(size))
        return path

    def __call__(self, spec: ModelSpec, path: Path) -> str:
        self.names.append(path.stem)
        return path.stem


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path)


def value(name: str) -> float:
    labels = {"model": SPEC.slug, **({"source": "disk"} if "load" in name else {})}
    return REGISTRY.get_sample_value(f"dreamlayer_model_{name}", labels) or 0.0


def cache_of(count: int) -> NetworkCache:
    """A cache for so many networks of SIZE bytes on each device."""
    return NetworkCache(lambda device: count * SIZE)


def test_a_load_holds_up_only_requests_for_the_same_network(tmp_path: Path) -> None:
    cache, started, may_end, names = NetworkCache(), threading.Event(), threading.Event(), []

    def load(spec: Any, path: Path) -> str:
        names.append(path.name)
        if path.name == "slow":
            started.set()
            assert may_end.wait(60)
        return path.name

    assert cache.get(load, SPEC, Path("other")) == "other"
    with ThreadPoolExecutor(3) as pool:
        try:
            slow = [pool.submit(cache.get, load, SPEC, Path("slow")) for _ in range(2)]
            assert started.wait(60)
            assert pool.submit(cache.get, load, SPEC, Path("other")).result(60) == "other"
        finally:
            may_end.set()
        assert [request.result(60) for request in slow] == ["slow"] * 2
    assert names == ["other", "slow"]


def test_the_least_recently_used_networks_are_evicted_for_one_that_does_not_fit(loads: Loads) -> None:
    cache = cache_of(3)
    before = {name: value(name) for name in ("load_seconds_count", "evictions_total")}
    for name in ("a", "b", "c", "a", "b", "c", "a", "d", "a", "c", "b"):
        assert cache.get(loads, SPEC, loads.path(name)) == name
        assert cache.used_bytes(CPU) <= 3 * SIZE
    assert loads.names == ["a", "b", "c", "d", "b"]
    assert [value(name) - then for name, then in before.items()] == [5, 2]


def test_one_network_stays_that_is_larger_than_the_limit(loads: Loads) -> None:
    cache = cache_of(2)
    for name in ("small", "large", "large", "small"):
        cache.get(loads, SPEC, loads.path(name, 5 * SIZE if name == "large" else SIZE))
    assert loads.names == ["small", "large", "small"]
    assert cache.used_bytes(CPU) == SIZE


def test_a_failed_load_is_tried_again(loads: Loads) -> None:
    cache = NetworkCache()

    def failing(spec: ModelSpec, path: Path) -> str:
        raise RuntimeError(path.stem)

    with pytest.raises(RuntimeError, match="a"):
        cache.get(failing, SPEC, loads.path("a"))
    assert cache.used_bytes(CPU) == 0
    assert cache.get(loads, SPEC, loads.path("a")) == "a"


def test_each_device_has_its_own_limit_and_networks(loads: Loads) -> None:
    cache = cache_of(1)
    for device in (CPU, GPU, CPU, GPU):
        cache.get(loads, SPEC, loads.path("a"), device)
    assert loads.names == ["a", "a"]
    assert not cache.evict_to(GPU, SIZE)
    assert cache.evict_to(GPU, SIZE - 1)
    assert (cache.used_bytes(CPU), cache.used_bytes(GPU)) == (SIZE, 0)


def test_a_quarter_of_the_memory_of_the_machine_is_for_networks() -> None:
    assert limit_bytes(CPU) == machine_memory_bytes() // 4
    assert machine_memory_bytes() > 10**8


@pytest.mark.parametrize("slug", ["slimsam", "blip-base", "depth-anything-v2-small"])
def test_of_the_catalog_a_missing_library_or_missing_files_are_told(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = (tool for tool in SHIPPED_TOOLS if tool.slug == slug)
    with pytest.raises(EngineFailed, match=f"pull_model {slug}"):
        NetworkCache().of(spec)

    def load(self: object, spec: ModelSpec, path: Path) -> Any:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(type(families.get(spec.family).load_implementation()), "load", load)
    with pytest.raises(EngineFailed, match=f"lacks transformers, which {spec.label} needs") as caught:
        NetworkCache().of(replace(spec, path=tmp_path))
    assert caught.value.code == "model_unavailable"


class Device:
    """A CUDA device with so many free bytes, and the devices that networks were loaded on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes = 10**12
        self.is_full = False
        self.used: list[str] = []
        monkeypatch.setattr(module, "free_device_bytes", lambda device: self.free_bytes)
        implementation = families.get("sam").load_implementation()
        monkeypatch.setattr(type(implementation), "load", self.load)

    def load(self, spec: ModelSpec, path: Path) -> str:
        self.used.append(current_device())
        if self.is_full and current_device() == GPU:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return current_device()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    with computing_on(GPU):
        yield Device(monkeypatch)


def sam_in(folder: Path) -> ModelSpec:
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros((5, 20), np.float16)}, folder / "model.safetensors")
    return ModelSpec(slug="sam", label="SAM", family="sam", path=folder)


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('safetensors')", reason="it is not installed")
def test_networks_of_torch_are_loaded_on_the_gpu_where_it_has_room(gpu: Device, tmp_path: Path) -> None:
    cache, spec = NetworkCache(lambda device: 10**9), sam_in(tmp_path)
    gpu.free_bytes = 2 * 400 - 1  # 100 numbers are loaded in float32; as much again is for what they compute
    assert cache.of(spec) == CPU
    gpu.free_bytes += 1
    assert cache.of(spec) == GPU
    gpu.free_bytes = 0
    assert cache.of(spec) == GPU  # it is there already
    assert gpu.used == [CPU, GPU]
    assert (cache.used_bytes(CPU), cache.used_bytes(GPU)) == (400, 400)


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('torch')", reason="torch is not installed")
def test_where_the_memory_of_the_gpu_is_full_the_cpu_computes(gpu: Device, tmp_path: Path) -> None:
    cache, spec = NetworkCache(lambda device: 10**9), sam_in(tmp_path)
    gpu.is_full = True
    assert cache.of(spec) == CPU
    assert gpu.used == [GPU, CPU]

    def compute() -> str:
        if current_device() == GPU:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return f"computed on {current_device()}"

    assert or_on_cpu(compute) == "computed on cpu"
    assert current_device() == GPU


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('torch')", reason="torch is not installed")
def test_a_lost_device_and_other_errors_are_not_hidden() -> None:
    def failing(message: str) -> None:
        raise RuntimeError(message)

    with computing_on(GPU):
        with pytest.raises(DeviceLost):
            or_on_cpu(lambda: failing("CUDA error: an illegal memory access was encountered"))
        with pytest.raises(RuntimeError, match="shapes"):
            or_on_cpu(lambda: failing("shapes differ"))
    with computing_on(CPU), pytest.raises(RuntimeError, match="out of memory"):
        or_on_cpu(lambda: failing("out of memory"))


def test_networks_compute_on_the_gpu_that_the_settings_allow(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for chosen, expected in (("auto", "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", "cpu")):
        settings.DIFFUSION_DEVICE = chosen
        assert current_device() == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings.DIFFUSION_DEVICE = "cuda"
    assert current_device() == "cpu"
    monkeypatch.setattr(choice, "find_spec", lambda name: None)  # as in a light installation
    settings.DIFFUSION_DEVICE = "cuda"
    assert current_device() == "cpu"
