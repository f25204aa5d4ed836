"""Rows of a GPU against the fastest published way of diffusers: the whole network compiled with max-autotune.

Compiling takes minutes, so each model is a row for a call of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.diffusion.bench import Bench, Sides
from benchmarks.diffusion.gpu_rows import plain_flux_step, plain_step
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, flop, flux_flop, request, twin
from inpainting.core.geometry import Size
from inpainting.engines.diffusion.denoising import DenoisingState

Step = Callable[[Any, list[DenoisingState]], torch.Tensor]


def compiled_whole(pipeline: Any, bench: Bench) -> Any:
    """A twin whose network is compiled as one graph. On a CPU nothing is generated: the row only walks the path."""
    fast = twin(pipeline, bench.hardware.dtype, channels_last=hasattr(pipeline, "unet"))
    options: dict[str, Any] = {"mode": "max-autotune"} if bench.hardware.is_cuda else {"backend": "eager"}
    torch._dynamo.config.cache_size_limit = 64
    name = "unet" if hasattr(fast, "unet") else "transformer"
    getattr(fast, name).compile(fullgraph=True, dynamic=False, **options)
    return fast


def whole_row(bench: Bench, key: str, sides: Sides, step: Step, samples: list[DenoisingState], row_flop: float) -> Row:
    fast = compiled_whole(sides.a, bench)
    started = time.perf_counter()
    step(fast, samples)
    bench.hardware.synchronize()
    compiling = time.perf_counter() - started
    calls = {
        "ours": lambda: torch.cat(sides.ours.predict(samples)),
        "a": lambda: step(sides.b, samples),
        "b": lambda: step(fast, samples).clone(),  # the next replay of its graph writes over it
    }
    found = bench.contest(calls, budget_seconds=20, inner=1 if bench.small else 5, warm=2)
    rows = sum(sample.rows for sample in samples)
    side = 8 * samples[0].latents.shape[-1]
    return Row(
        key,
        f"{sides.ours.spec.label} step, {rows} rows, {side}x{side}, against the whole network compiled",
        found["ours"],
        found["a"],
        found["b"],
        floor=bench.floor(rows * row_flop),
        parity=difference(calls["ours"](), step(sides.a, samples)),
        note=f"A: diffusers with compiled blocks; B: diffusers compiled whole, max-autotune, in {compiling:.0f} s",
    )


def g18(bench: Bench) -> Iterator[Row]:
    sides, side = bench.sd, bench.side(512)
    for people in (1, 8):
        samples = [begun(sides.ours, request(side, seed=seed, steps=4)) for seed in range(people)]
        yield whole_row(bench, "G18", sides, plain_step, samples, flop(sides.ours, "unet", Size(side, side)))


def plain_sdxl_step(pipeline: Any, samples: list[DenoisingState]) -> torch.Tensor:
    """The same rows through a pipeline's own UNet, with the sizes that SDXL takes."""
    unet = pipeline.unet
    texts = [sample.step_text for sample in samples]
    added = {
        "text_embeds": torch.cat([text.pooled for text in texts if text.pooled is not None]).to(unet.dtype),
        "time_ids": torch.cat([text.time_ids for text in texts if text.time_ids is not None]).to(unet.dtype),
    }
    return plain_step(pipeline, samples, added_cond_kwargs=added)


def g19(bench: Bench) -> Iterator[Row]:
    sides, side = bench.sdxl, bench.side(1024)
    samples = [begun(sides.ours, request(side, steps=4))]
    yield whole_row(bench, "G19", sides, plain_sdxl_step, samples, flop(sides.ours, "unet", Size(side, side)))


def g20(bench: Bench) -> Iterator[Row]:
    sides, side = bench.flux, bench.side(1024)
    samples = [begun(sides.ours, request(side, steps=4, scheduler=None, guidance_scale=30.0))]
    yield whole_row(bench, "G20", sides, plain_flux_step, samples, flux_flop(sides.ours, Size(side, side)))


ROWS = {"G18": g18, "G19": g19, "G20": g20}
SECONDS = {"G18": 420.0, "G19": 420.0, "G20": 420.0}
