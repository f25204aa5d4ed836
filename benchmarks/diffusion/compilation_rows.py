"""Rows of a GPU: a step of the engine as it is, and with DREAMLAYER_DIFFUSION_COMPILE=blocks.

On a CPU no code is generated: the rows only walk the path.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.gpu_rows import batch
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, flop, flux_flop, request
from inpainting.core.geometry import Size
from inpainting.engines.diffusion import compilation
from inpainting.engines.diffusion.compilation import import_compiler
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.garbage import freeze_imports


def compiled(model: Any, bench: Bench) -> Any:
    """The engine's model with the same weights, compiled."""
    if not bench.hardware.is_cuda:
        compilation.OPTIONS["backend"] = "eager"
    return type(model)(model.pipeline, replace(model.hardware, compilation="blocks"), model.spec)


def step(model: Any, samples: list[DenoisingState]) -> torch.Tensor:
    return torch.cat(model.predict(samples))


def compiled_row(bench: Bench, key: str, model: Any, samples: list[DenoisingState], row_flop: float) -> Row:
    import_compiler()
    freeze_imports(of="the compiler")  # as the engine does before it loads its first model
    fast, started = compiled(model, bench), time.perf_counter()
    step(fast, samples)
    bench.hardware.synchronize()
    seconds = time.perf_counter() - started
    if fast.compilation_notes:
        raise RuntimeError(fast.compilation_notes[0])
    calls = {"ours": partial(step, model, samples), "a": partial(step, fast, samples)}
    found = bench.contest(calls, budget_seconds=12, inner=1 if bench.small else 5, warm=2)
    rows, side_pixels = sum(one.rows for one in samples), 8 * samples[0].latents.shape[-1]
    return Row(
        key,
        f"{model.spec.label} step, {rows} rows, {side_pixels}x{side_pixels}",
        found["ours"],
        found["a"],
        floor=bench.floor(rows * row_flop),
        parity=difference(calls["a"](), calls["ours"]()),
        note=f"ours: plain; A: compiled blocks, the first step {seconds:.0f} s; below 1 compiling is faster",
    )


def g23(bench: Bench) -> Iterator[Row]:
    side = bench.side(512)
    row_flop = flop(bench.sd.ours, "unet", Size(side, side))
    for rows in (2, 16):
        yield compiled_row(bench, "G23", bench.sd.ours, batch(bench, rows), row_flop)


def g24(bench: Bench) -> Iterator[Row]:
    model, side = bench.sdxl.ours, bench.side(1024)
    samples = [begun(model, request(side, steps=4))]
    yield compiled_row(bench, "G24", model, samples, flop(model, "unet", Size(side, side)))


def g25(bench: Bench) -> Iterator[Row]:
    model, side = bench.flux.ours, bench.side(1024)
    samples = [begun(model, request(side, steps=4, scheduler=None, guidance_scale=30.0))]
    yield compiled_row(bench, "G25", model, samples, flux_flop(model, Size(side, side)))


ROWS = {"G23": g23, "G24": g24, "G25": g25}
SECONDS = {"G23": 240.0, "G24": 240.0, "G25": 240.0}
