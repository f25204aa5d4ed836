"""The memory of other networks, such as those of segmenters, goes to models of the diffusion engine that need it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Offload
from inpainting.networks.network_cache import NetworkCache
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request
from tests.engines.diffusion.serving.devices import CountingDevice, byte_count, networks_of
from tests.support import tiny_models

TOOL = ModelSpec(slug="tool", label="Tool", family="u2net")
SIZE = 1000


@pytest.fixture
def others(tmp_path: Path) -> NetworkCache:
    """Three networks of SIZE bytes on the CPU, and one on a GPU."""
    cache = NetworkCache(lambda device: 10**9)
    for name, device in (("a", "cpu"), ("b", "cpu"), ("c", "cpu"), ("a", "cuda")):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(bytes(SIZE))
        cache.get(lambda spec, path: path, TOOL, path, device)
    return cache


@pytest.mark.parametrize(("free_bytes", "kept"), [(3 * SIZE, 3), (2 * SIZE, 2), (3 * SIZE - 1, 2), (0, 0), (-1, 0)])
def test_a_model_leaves_them_what_is_left_of_the_budget(
    others: NetworkCache, tmp_path: Path, free_bytes: int, kept: int
) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    cache = ModelCache(CPU, weights_bytes(spec, torch.float32) + free_bytes, other_networks=others)
    cache.get(spec)
    assert others.used_bytes("cpu") == kept * SIZE
    assert others.used_bytes("cuda") == SIZE  # another device


def test_they_are_evicted_before_an_object_of_the_engine(others: NetworkCache, tmp_path: Path) -> None:
    cache = ModelCache(CPU, 10**9, other_networks=others)
    model = cache.get(tiny_models.saved(tmp_path / "model"))
    assert cache.evict()
    assert (others.used_bytes("cpu"), cache.models) == (0, [model])
    assert cache.evict()
    assert cache.models == []
    assert not cache.evict()


class SharedDevice(CountingDevice):
    """A device of which other networks take memory, too."""

    others: Callable[[], int]

    def check(self, wanted: int) -> None:
        CountingDevice.check(self, wanted + type(self).others())


def test_where_memory_is_short_they_are_evicted_before_the_model_is_offloaded(
    others: NetworkCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    whole = sum(map(byte_count, networks_of(ModelCache(CPU, 10**9).get(spec).pipeline)))
    monkeypatch.setattr(SharedDevice, "others", staticmethod(lambda: others.used_bytes("cpu")), raising=False)
    device = SharedDevice(torch.device("cpu"), torch.float32, capacity=whole + 2 * SIZE)
    (image,), notes = Batcher(ModelCache(device, 10**9, other_networks=others)).paint(request(), spec, ignore_step)
    assert image.any()
    assert notes == ()
    assert device.placed == [Offload.NONE, Offload.NONE]
    assert others.used_bytes("cpu") == 0
