"""A model goes on with its steps in every phase of loading another: reading, placing, and removing an evicted one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_memory import DeviceMemory
from inpainting.engines.diffusion.serving.host_memory import HostMemory
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware, Offload
from tests.engines.diffusion.serving.batches import UNetCalls, request
from tests.engines.diffusion.serving.devices import CountingDevice
from tests.support import tiny_models

LOAD = "inpainting.engines.diffusion.serving.loading.loads.load"
STEPS_IN_A_PHASE = 3


@dataclass(frozen=True, slots=True)
class WatchedDevice(CountingDevice):
    """Calls `began` with the name of each copy to or from its memory, before it is made."""

    began: list[Callable[[str], None]] = field(default_factory=list)

    def place(self, pipeline: Any) -> None:
        self._begin("place")
        CountingDevice.place(self, pipeline)

    def remove(self, pipeline: Any) -> None:
        self._begin("remove")
        CountingDevice.remove(self, pipeline)

    def _begin(self, name: str) -> None:
        for call in self.began:
            call(name)


class Phases:
    """The phases of loads, each of which is held until `end` is called."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.is_held = False
        self._end = threading.Event()
        self._device_thread = threading.get_ident()

    def begin(self, name: str) -> None:
        assert threading.get_ident() != self._device_thread, f"{name} stops all steps"
        self.names.append(name)
        self.is_held = True
        assert self._end.wait(20)
        self._end.clear()

    def end(self) -> None:
        self.is_held = False
        self._end.set()


def test_steps_go_on_in_every_phase_of_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painting, one, other = (
        tiny_models.saved(tmp_path / name, seed=seed) for seed, name in enumerate(("painting", "one", "other"))
    )
    device = WatchedDevice(torch.device("cpu"), torch.float32, capacity=10**9)
    budget = int(2.5 * weights_bytes(painting, torch.float32))  # the one that paints, and one more
    batcher = Batcher(ModelCache(device, budget, host_memory=HostMemory(0.5)))
    calls, phases = UNetCalls(batcher, painting), Phases()

    def watched_load(spec: ModelSpec, hardware: Hardware, offload: Offload) -> Any:
        phases.begin("read")
        return load(spec, hardware, offload)

    def watched_collection(memory: DeviceMemory) -> None:
        assert threading.get_ident() != device_thread, "a garbage collection delays a step"

    device_thread = threading.get_ident()
    monkeypatch.setattr(DeviceMemory, "collect_garbage", watched_collection)
    device.began.append(phases.begin)
    monkeypatch.setattr(LOAD, watched_load)
    batcher.workload.add(Job(request(steps=100), painting))
    batcher.run_once()
    for spec in (one, other, one):
        job = Job(request(steps=1), spec)
        batcher.workload.add(job)
        while not job.is_done:
            if phases.is_held:
                before = len(calls.rows)
                for _ in range(STEPS_IN_A_PHASE):
                    batcher.run_once()
                assert len(calls.rows) == before + STEPS_IN_A_PHASE
                phases.end()
            elif batcher.cache.is_loading:
                time.sleep(0.001)  # between two phases
            else:
                batcher.run_once()
        assert not isinstance(job.messages.get(), Exception)
    assert phases.names == ["read", "place", "remove", "read", "place", "remove", "place"]
