"""What all rows share: the device, the clock, the ceilings and the models."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.diffusion.measuring import Row, contest
from benchmarks.diffusion.models import compiled, loaded, random_pipeline, spec_of, twin
from benchmarks.turns import Figure
from inpainting import families
from inpainting.engines.diffusion.serving.loading.model_loading import hardware_for
from inpainting.families.flux_fill.network import FluxFill
from inpainting.networks.device.hardware import Hardware

SMALLER = 8
"""By how much sides shrink where tiny models only walk the path."""


@dataclass(eq=False)
class Sides:
    """One family's contestants, all with the same weights.

    ours: as the engine loads it. a: the plain pipeline (float32 on a CPU, float16 on CUDA). make_b: builds `b`.
    """

    ours: Any
    a: Any
    make_b: Callable[[], Any]

    @cached_property
    def b(self) -> Any:
        """Diffusers' documented fast way (bfloat16 and channels last on a CPU; on CUDA also compiled).

        Its copy of the weights is made at the first use: a GPU may not hold three of them and more.
        """
        return self.make_b()


@dataclass
class Bench:
    hardware: Hardware
    scratch: Path
    small: bool
    repeats: int
    deadline: float
    contest_seconds: float = math.inf
    """How long the turns of one comparison may take, beside what its row allows."""
    is_gpu_run: bool = False
    """Whether the rows are those of a GPU, on whatever device they run."""
    steps: dict[int, dict[str, Figure]] = field(default_factory=dict)
    """One step at 512 by its rows: measured once, used by several rows."""
    step_parity: dict[int, float] = field(default_factory=dict)
    openvino_steps: dict[int, dict[str, Figure]] = field(default_factory=dict)
    """The same of the row's OpenVINO side and, in the same turns, the others."""
    ceilings: dict[str, float] = field(default_factory=dict)
    """FLOP/s by precision and bytes/s of a copy (read and written both counted), measured in this run."""

    @property
    def left_seconds(self) -> float:
        return self.deadline - time.monotonic()

    def side(self, pixels: int) -> int:
        return max(64, pixels // SMALLER) if self.small else pixels

    def contest(
        self, sides: Mapping[str, Callable[[], Any]], *, budget_seconds: float, **more: int
    ) -> dict[str, Figure]:
        """See `measuring.contest`; never past the run's own clock."""
        budget = min(budget_seconds, self.contest_seconds, max(1.0, self.left_seconds))
        return contest(self.hardware, sides, repeats=self.repeats, budget_seconds=budget, **more)

    @property
    def warm(self) -> int:
        """Rounds before the clock runs: a step of a full-size model takes a CPU so long that the first is as good."""
        return 1 if self.small else 0

    def floor(self, flop: float) -> float:
        """Seconds of arithmetic at the ceiling of 16 bits."""
        return flop / self.ceilings["16 bits"]

    @cached_property
    def sd(self) -> Sides:
        return self._sides("sd", self.side(512))

    @cached_property
    def sdxl(self) -> Sides:
        return self._sides("sdxl", self.side(1024))

    @cached_property
    def flux(self) -> Sides:
        """In bfloat16, as the engine computes it. Ours and the plain pipeline share one copy of the weights."""
        started = time.monotonic()
        hardware = hardware_for(families.get("flux-fill"), self.hardware)
        base = random_pipeline("flux-fill", self.scratch, hardware, tiny=self.small).to(dtype=hardware.dtype)
        ours = FluxFill(base, hardware, spec_of("flux-fill", self.side(1024)))
        sides = Sides(ours, base, lambda: compiled(twin(base, hardware.dtype), hardware))
        print(f"<!-- flux-fill built in {time.monotonic() - started:.0f} s -->", flush=True)
        return sides

    def _sides(self, family: str, side: int) -> Sides:
        started = time.monotonic()
        base = random_pipeline(family, self.scratch, self.hardware, tiny=self.small)
        if self.hardware.is_cuda:
            base = base.to(dtype=self.hardware.dtype)
        ours = loaded(base, self.hardware, spec_of(family, side))

        def make_b() -> Any:
            fast = twin(base, self.hardware.dtype, channels_last=True)
            return compiled(fast, self.hardware) if self.is_gpu_run else fast

        sides = Sides(ours, base, make_b)
        print(f"<!-- {family} built in {time.monotonic() - started:.0f} s -->", flush=True)
        return sides


def ceilings(bench: Bench, *, side: int, copied_bytes: int, name: str) -> Row:
    """The fastest matrix products and copies this machine does: what floors are computed from."""
    device, half = bench.hardware.device, torch.bfloat16
    figures = {}
    kinds = {"32 bits": torch.float32, "16 bits": half}
    for label, dtype in kinds.items():
        one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        found = bench.contest({"it": lambda one=one, other=other: one @ other}, budget_seconds=10, inner=3, warm=2)  # type: ignore[misc]
        figures[label] = found["it"]
        bench.ceilings[label] = 2 * side**3 / found["it"].least
    source = torch.randn(copied_bytes // 4, device=device)
    target = torch.empty_like(source)
    copied = bench.contest({"it": lambda: target.copy_(source)}, budget_seconds=5, inner=3, warm=2)["it"]
    bench.ceilings["copy"] = 2 * copied_bytes / copied.least
    note = ", ".join(
        [f"{label} {bench.ceilings[label] / 1e12:.3g} TFLOP/s" for label in kinds]
        + [f"copy of {copied_bytes // 10**6} MB {bench.ceilings['copy'] / 1e9:.3g} GB/s read and written"]
    )
    return Row(
        name,
        f"bfloat16 product of {side}x{side}",
        figures["16 bits"],
        figures["32 bits"],
        is_ceiling=True,
        note=f"peer A: the same in float32{' as TF32' if torch.backends.cuda.matmul.allow_tf32 else ''}; {note}",
        more={"ceilings": dict(bench.ceilings)},
    )
