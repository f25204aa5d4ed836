"""Rows of a GPU: a step of the engine as it is, with compiled blocks, and compiled whole with CUDA graphs.

These are the values of DREAMLAYER_DIFFUSION_COMPILE. On a CPU no code is generated: the rows only walk the path.
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
from benchmarks.diffusion.measuring import Figure, Row, difference
from benchmarks.diffusion.models import begun, flop, flux_flop, request
from inpainting.core.garbage import freeze_imports
from inpainting.core.geometry import Size
from inpainting.engines.diffusion import compilation
from inpainting.engines.diffusion.compilation import THREAD, import_compiler
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.kernels import BLOCKS, GRAPHS

COMPILING_SECONDS = 240.0
"""Where a shape takes longer, its row is left out."""


def compiled(model: Any, kind: str, bench: Bench) -> Any:
    """The engine's model with the same weights, compiled in another way."""
    if not bench.hardware.is_cuda:
        compilation.OPTIONS[kind] = {"backend": "eager"}
    return type(model)(model.pipeline, replace(model.hardware, compilation=kind), model.spec)


def step(model: Any, samples: list[DenoisingState]) -> torch.Tensor:
    return torch.cat(model.predict(samples))


def prepared(model: Any, samples: list[DenoisingState], plain: Any, bench: Bench) -> tuple[float, Figure]:
    """Seconds until the shape is compiled and compared, and the steps of the plain model meanwhile."""
    started, during = time.perf_counter(), []
    step(model, samples)
    while THREAD.is_busy:
        before = time.perf_counter()
        step(plain, samples)
        bench.hardware.synchronize()
        during.append(time.perf_counter() - before)
        if before - started > COMPILING_SECONDS:
            raise TimeoutError(f"not compiled in {COMPILING_SECONDS:.0f} s")
    seconds = time.perf_counter() - started
    step(model, samples)
    if model.compilation_notes:
        raise RuntimeError(model.compilation_notes[0])
    return seconds, Figure(tuple(during or [0.0]))


def compiled_row(bench: Bench, key: str, model: Any, samples: list[DenoisingState], row_flop: float) -> Row:
    import_compiler()
    freeze_imports(of="the compiler")  # as the engine does before it loads its first model
    kinds = {"a": BLOCKS, "b": GRAPHS}
    models = {side: compiled(model, kind, bench) for side, kind in kinds.items()}
    notes = []
    for side, kind in kinds.items():
        seconds, during = prepared(models[side], samples, model, bench)
        notes.append(
            f"{kind} in {seconds:.0f} s, a plain step meanwhile {during.median:.3g}, at most {max(during.values):.3g} s"
        )
    calls = {"ours": partial(step, model, samples)}
    calls |= {side: partial(step, one, samples) for side, one in models.items()}
    found = bench.contest(calls, budget_seconds=12, inner=1 if bench.small else 5, warm=2)
    plain = calls["ours"]()
    parity = max(difference(calls[side](), plain) for side in models)
    rows, side_pixels = sum(one.rows for one in samples), 8 * samples[0].latents.shape[-1]
    return Row(
        key,
        f"{model.spec.label} step, {rows} rows, {side_pixels}x{side_pixels}",
        found["ours"],
        found["a"],
        found["b"],
        floor=bench.floor(rows * row_flop),
        parity=parity,
        note=f"ours: plain; A: compiled blocks; B: CUDA graphs; {'; '.join(notes)}; below 1 compiling is faster",
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
SECONDS = {"G23": 420.0, "G24": 420.0, "G25": 420.0}
