"""The steps of one model while another is loaded: the longest time between two of them, in steps.

The device is simulated: a step sleeps, and so does a copy to or from the device, for its bytes at a published rate.
Reading files, building networks and evicting are real, and so is the Python of the steps.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.measuring import Figure, Row
from benchmarks.diffusion.models import random_pipeline, request, spec_of
from benchmarks.diffusion.serving import ignore
from inpainting.catalog.specs import ModelSpec
from inpainting.engines.base import Step
from inpainting.engines.diffusion.hardware import Hardware, Offload
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.host_memory import HostMemory
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.model_loading import weights_bytes
from inpainting.garbage import freeze_imports
from tests.support import tiny_models

STEP_SECONDS = 0.05
"""About a guided step of SDXL at 1024x1024 on a data centre's GPU."""
COPIED_BYTES_A_SECOND = 12e9
"""Pageable memory over PCIe 4.0 x16, whose limit is 31.5 GB/s."""
STEPS, USUAL_STEPS = 150, 20
SIDE = 64


@dataclass(frozen=True, slots=True)
class SimulatedDevice(Hardware):
    """The CPU, to which weights are copied as if it had a memory of its own."""

    @property
    def can_offload(self) -> bool:
        return True

    def place(self, pipeline: Any) -> None:
        self._copy(pipeline)

    def remove(self, pipeline: Any) -> None:
        self._copy(pipeline)

    def offload(self, pipeline: Any, offload: Offload) -> None:
        """Nothing is offloaded: memory is not what this device is short of."""

    def _copy(self, pipeline: Any) -> None:
        networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        byte_count = sum(tensor.nbytes for network in networks for tensor in network.parameters())
        time.sleep(byte_count / COPIED_BYTES_A_SECOND)


@dataclass(slots=True, eq=False)
class Steps:
    """When each step of the model that paints began, and when another was loaded."""

    began: list[float] = field(default_factory=list)

    def hook(self, module: torch.nn.Module, arguments: Any) -> None:
        self.began.append(time.perf_counter())
        time.sleep(STEP_SECONDS)

    def gaps(self, start: float, end: float) -> list[float]:
        """Seconds between steps, as far as they are between `start` and `end`."""
        pairs = zip(self.began, self.began[1:], strict=False)
        return [min(after, end) - max(before, start) for before, after in pairs if after > start and before < end]


def c8(bench: Bench) -> Iterator[Row]:
    """Ours: the longest gap. A: the longest one before. B: the median one before, which is a step."""
    device = SimulatedDevice(torch.device("cpu"), torch.float32)
    freeze_imports(of="diffusers")  # as the engine does before it loads its first model
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the loader then has the other processor of two
    painting = saved(bench, "painting", random_pipeline("sd", bench.scratch, device, tiny=True))
    others = [saved(bench, name, large_pipeline(bench, device)) for name in ("one", "other")]
    try:
        for kept in (False, True):
            yield from rows(bench, device, painting, others, kept=kept)
    finally:
        torch.set_num_threads(threads)


def saved(bench: Bench, name: str, pipeline: Any) -> ModelSpec:
    folder = bench.scratch / name
    pipeline.save_pretrained(folder, safe_serialization=True)
    return ModelSpec(name, name, "sd", path=folder, width=SIDE, height=SIDE, scheduler=spec_of("sd", SIDE).scheduler)


def large_pipeline(bench: Bench, hardware: Hardware) -> Any:
    """The tiny model with a UNet of 860 MB, or 40 MB in the small run."""
    pipeline = random_pipeline("sd", bench.scratch, hardware, tiny=True)
    width = 32 if bench.small else 160
    unet = UNet2DConditionModel(
        in_channels=9, sample_size=64, block_out_channels=(width, 2 * width, 4 * width, 4 * width), layers_per_block=2,
        cross_attention_dim=tiny_models.FEATURES, attention_head_dim=8,
    )  # fmt: skip
    pipeline.register_modules(unet=unet.eval())
    return pipeline


def rows(
    bench: Bench, device: SimulatedDevice, painting: ModelSpec, others: list[ModelSpec], *, kept: bool
) -> Iterator[Row]:
    """kept: whether evicted models stay in the machine's memory."""
    sizes = [weights_bytes(spec, device.dtype) for spec in (painting, *others)]
    budget = int(1.5 * max(sizes))  # the one that paints, and one more
    cache = ModelCache(device, budget, host_memory=HostMemory(0.5 if kept else 0.0))
    batcher, steps = Batcher(cache, max_rows=2), Steps()
    cache.get(painting).unet.register_forward_pre_hook(steps.hook)
    places = ["from disk", "from disk, the other evicted"]
    places += ["from the machine's memory, the other evicted" if kept else "from disk again, the other evicted"]
    for number, place in enumerate(places):
        kind = "kept" if kept else "dropped"
        yield row(batcher, steps, painting, others[number % 2], f"{place}; evicted models are {kind}")


class Over(Exception):
    """The measurement is over."""


def row(batcher: Batcher, steps: Steps, painting: ModelSpec, other: ModelSpec, place: str) -> Row:
    """Load a model by a request that takes one step, beside steps that go on."""
    over = threading.Event()

    def leave_when_over(step: Step) -> None:
        if over.is_set():
            raise Over

    with ThreadPoolExecutor(2) as pool:
        count = len(steps.began)
        painter = pool.submit(batcher.paint, request(SIDE, steps=STEPS, num_images=4), painting, leave_when_over)
        try:
            while len(steps.began) < count + USUAL_STEPS and not painter.done():
                time.sleep(STEP_SECONDS)
            start, count = time.perf_counter(), len(steps.began)
            alone = steps.gaps(steps.began[count - USUAL_STEPS], start)
            usual = statistics.median(alone)
            waiting = pool.submit(batcher.paint, request(SIDE, steps=1), other, ignore)
            while batcher.cache.loaded(other) is None and not waiting.done():
                time.sleep(0.001)
            ready, count = time.perf_counter(), len(steps.began) - count
            waiting.result()
            ended = time.perf_counter()
            time.sleep(3 * STEP_SECONDS)
        finally:
            over.set()
        if not isinstance(painter.exception(), Over):
            painter.result()
            raise RuntimeError("The steps ended before the load.")
    loading, starting = (max(steps.gaps(*times), default=usual) for times in ((start, ready), (ready, ended)))
    return Row(
        "C8",
        f"longest gap between steps while another model is loaded {place}",
        Figure((loading,)),
        Figure((max(alone),)),
        Figure((usual,)),
        is_ceiling=True,
        note=f"{loading / usual:.2f} steps while it is loaded, in {ready - start:.2f} s with {count} steps; "
        f"{starting / usual:.2f} steps while its own request is encoded, takes its step and is decoded; "
        f"A: {max(alone) / usual:.2f} steps, the longest of {USUAL_STEPS} before; B: a step",
    )


ROWS = {"C8": c8}
SECONDS = {"C8": 60.0}
