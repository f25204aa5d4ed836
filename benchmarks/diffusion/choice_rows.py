"""Rows of a GPU: each choice of the engine beside its default, for the same weights in the same process.

On a CPU, which has none of these kernels and for which no code is generated, the rows only walk the path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.gpu_rows import batch
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, request, twin
from inpainting.core.garbage import freeze_imports
from inpainting.engines.diffusion import compilation
from inpainting.engines.diffusion.compilation import import_compiler
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.kernels import BLOCKS, CUDNN, DEFAULT_KERNELS, Kernels

Call = Callable[[], torch.Tensor]
KERNELS = {
    "TF32 off": Kernels(tf32=False),
    "cuDNN's benchmark mode": Kernels(cudnn_benchmark=True),
    "cuDNN's attention first": Kernels(attention=CUDNN),
}


def stepped(model: Any, samples: list[DenoisingState]) -> torch.Tensor:
    return torch.cat(model.predict(samples))


def choice_row(bench: Bench, key: str, what: str, choice: str, default: Call, chosen: Call) -> Row:
    """The same step or decoding by default and with a choice, in turns."""
    found = bench.contest({"ours": default, "a": chosen}, budget_seconds=8, inner=1 if bench.small else 5, warm=2)
    note = f"A: {choice}; ours: the engine's default; below 1 the choice is faster"
    return Row(key, f"{what}: {choice}", found["ours"], found["a"], parity=difference(chosen(), default()), note=note)


def kernel_row(bench: Bench, key: str, choice: str, what: str, call: Call) -> Row:
    def with_kernels(kernels: Kernels) -> torch.Tensor:
        if bench.hardware.is_cuda:
            kernels.use()
        return call()

    default, chosen = (partial(with_kernels, kernels) for kernels in (DEFAULT_KERNELS, KERNELS[choice]))
    try:
        return choice_row(bench, key, what, choice, default, chosen)
    finally:
        if bench.hardware.is_cuda:
            DEFAULT_KERNELS.use()


def compiled_row(bench: Bench, key: str, model: Any, what: str, samples: list[DenoisingState]) -> Row:
    """With DREAMLAYER_DIFFUSION_COMPILE=blocks."""
    import_compiler()
    freeze_imports(of="the compiler")  # as the engine does before it loads its first model
    if not bench.hardware.is_cuda:
        compilation.OPTIONS["backend"] = "eager"
    fast = type(model)(model.pipeline, replace(model.hardware, compilation=BLOCKS), model.spec)
    started = time.perf_counter()
    stepped(fast, samples)
    bench.hardware.synchronize()
    choice = f"compiled blocks, the first step {time.perf_counter() - started:.0f} s"
    if fast.compilation_notes:
        raise RuntimeError(fast.compilation_notes[0])
    return choice_row(bench, key, what, choice, partial(stepped, model, samples), partial(stepped, fast, samples))


def g21(bench: Bench) -> Iterator[Row]:
    model, side = bench.sd.ours, bench.side(512)
    for rows in (2, 16):
        step = partial(stepped, model, batch(bench, rows))
        for choice in ("cuDNN's benchmark mode", "cuDNN's attention first"):
            yield kernel_row(bench, "G21", choice, f"SD 1.5 step, {rows} rows, {side}x{side}", step)
    vae = twin(bench.sd.a, torch.float32).vae
    latents = torch.randn(1, 4, side // 8, side // 8, device=bench.hardware.device)

    @torch.inference_mode()
    def decode() -> torch.Tensor:
        return torch.as_tensor(vae.decode(latents, return_dict=False)[0])

    yield kernel_row(bench, "G21", "TF32 off", f"VAE decode in float32, {side}x{side}", decode)


def flux_sample(bench: Bench) -> tuple[str, list[DenoisingState]]:
    side = bench.side(1024)
    wanted = request(side, steps=4, scheduler=None, guidance_scale=30.0)
    return f"FLUX.1 Fill step, 1 row, {side}x{side}", [begun(bench.flux.ours, wanted)]


def g22(bench: Bench) -> Iterator[Row]:
    what, samples = flux_sample(bench)
    yield kernel_row(bench, "G22", "cuDNN's attention first", what, partial(stepped, bench.flux.ours, samples))


def g23(bench: Bench) -> Iterator[Row]:
    side = bench.side(512)
    for rows in (2, 16):
        what = f"SD 1.5 step, {rows} rows, {side}x{side}"
        yield compiled_row(bench, "G23", bench.sd.ours, what, batch(bench, rows))


def g24(bench: Bench) -> Iterator[Row]:
    model, side = bench.sdxl.ours, bench.side(1024)
    yield compiled_row(bench, "G24", model, f"SDXL step, 2 rows, {side}x{side}", [begun(model, request(side, steps=4))])


def g25(bench: Bench) -> Iterator[Row]:
    yield compiled_row(bench, "G25", bench.flux.ours, *flux_sample(bench))


ROWS = {"G21": g21, "G22": g22, "G23": g23, "G24": g24, "G25": g25}
SECONDS = {"G21": 90.0, "G22": 120.0, "G23": 240.0, "G24": 240.0, "G25": 240.0}
