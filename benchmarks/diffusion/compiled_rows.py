"""Rows of a GPU: compiled blocks beside the plain network, for the same weights in the same process.

On a CPU, for which no code is generated, the rows only walk the path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.gpu_rows import batch
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, request
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.garbage import freeze_imports
from inpainting.networks.device import compilation
from inpainting.networks.device.compilation import import_compiler

Call = Callable[[], torch.Tensor]


def stepped(model: Any, samples: list[DenoisingState]) -> torch.Tensor:
    return torch.cat(model.predict(samples))


def choice_row(bench: Bench, key: str, what: str, choice: str, default: Call, chosen: Call) -> Row:
    """The same step or decoding by default and with a choice, in turns."""
    found = bench.contest({"ours": default, "a": chosen}, budget_seconds=8, inner=1 if bench.small else 5, warm=2)
    note = f"A: {choice}; ours: the engine's default; below 1 the choice is faster"
    return Row(key, f"{what}: {choice}", found["ours"], found["a"], parity=difference(chosen(), default()), note=note)


Steps = Sequence[tuple[str, list[DenoisingState]]]
"""What each step is, and the samples that take it."""


def compiled_rows(bench: Bench, key: str, model: Any, steps: Steps) -> Iterator[Row]:
    """With DREAMLAYER_DIFFUSION_COMPILE=blocks, and with blocks that are compiled for the sizes of each step alone."""
    import_compiler()
    freeze_imports(package="the compiler")  # as the engine does before it loads its first model
    if not bench.hardware.is_cuda:
        compilation.OPTIONS["backend"] = "eager"
    usual = compilation.OPTIONS["dynamic"]
    for choice, is_dynamic in (("compiled for all sizes", usual), ("compiled for this size alone", False)):
        torch._dynamo.reset()  # what is compiled for all sizes would serve this one too
        compilation.OPTIONS["dynamic"] = is_dynamic
        fast = type(model)(model.pipeline, replace(model.hardware, compilation="blocks"), model.spec)
        try:
            for what, samples in steps:
                yield compiled_row(bench, key, model, fast, what, samples, choice)
        finally:
            compilation.OPTIONS["dynamic"] = usual


def compiled_row(
    bench: Bench, key: str, model: Any, fast: Any, what: str, samples: list[DenoisingState], choice: str
) -> Row:
    started = time.perf_counter()
    stepped(fast, samples)
    bench.hardware.synchronize()
    choice = f"blocks {choice}, the first step {time.perf_counter() - started:.1f} s"
    if fast.compilation_notes:
        raise RuntimeError(fast.compilation_notes[0])
    return choice_row(bench, key, what, choice, partial(stepped, model, samples), partial(stepped, fast, samples))


def flux_sample(bench: Bench) -> tuple[str, list[DenoisingState]]:
    side = bench.side(1024)
    wanted = request(side, steps=4, scheduler=None, guidance_scale=30.0)
    return f"FLUX.1 Fill step, 1 row, {side}x{side}", [begun(bench.flux.ours, wanted)]


def sdxl_sample(bench: Bench) -> tuple[str, list[DenoisingState]]:
    model, side = bench.sdxl.ours, bench.side(1024)
    return f"SDXL step, 2 rows, {side}x{side}", [begun(model, request(side, steps=4))]


def g23(bench: Bench) -> Iterator[Row]:
    side = bench.side(512)
    steps = [(f"SD 1.5 step, {rows} rows, {side}x{side}", batch(bench, rows)) for rows in (2, 16)]
    yield from compiled_rows(bench, "G23", bench.sd.ours, steps)


def g24(bench: Bench) -> Iterator[Row]:
    yield from compiled_rows(bench, "G24", bench.sdxl.ours, [sdxl_sample(bench)])


def g25(bench: Bench) -> Iterator[Row]:
    yield from compiled_rows(bench, "G25", bench.flux.ours, [flux_sample(bench)])


ROWS = {"G23": g23, "G24": g24, "G25": g25}
SECONDS = {"G23": 240.0, "G24": 240.0, "G25": 240.0}
