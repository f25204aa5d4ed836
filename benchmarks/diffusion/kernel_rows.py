"""Rows of a GPU: each choice of `Kernels` beside the engine's default, for the same model in the same process.

On a CPU, which has none of these kernels, the rows only walk the path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.gpu_rows import batch
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, request, twin
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.networks.device.kernels import CUDNN, DEFAULT_KERNELS, Kernels

Call = Callable[[], torch.Tensor]
CHOICES = {
    "TF32 off": Kernels(tf32=False),
    "cuDNN's benchmark mode": Kernels(cudnn_benchmark=True),
    "cuDNN's attention first": Kernels(attention=CUDNN),
}


def choice_row(bench: Bench, key: str, choice: str, what: str, call: Call) -> Row:
    """The same call with the default kernels and with another choice, in turns."""

    def with_kernels(kernels: Kernels) -> torch.Tensor:
        if bench.hardware.is_cuda:
            kernels.use()
        return call()

    calls = {"ours": partial(with_kernels, DEFAULT_KERNELS), "a": partial(with_kernels, CHOICES[choice])}
    try:
        found = bench.contest(calls, budget_seconds=8, inner=1 if bench.small else 5, warm=2)
        parity = difference(calls["a"](), calls["ours"]())
    finally:
        if bench.hardware.is_cuda:
            DEFAULT_KERNELS.use()
    note = f"A: {choice}; ours: the engine's default; below 1 the choice is faster"
    return Row(key, f"{what}: {choice}", found["ours"], found["a"], parity=parity, note=note)


def g21(bench: Bench) -> Iterator[Row]:
    model, side = bench.sd.ours, bench.side(512)
    for rows in (2, 16):
        step = partial(stepped, model, batch(bench, rows))
        for choice in ("cuDNN's benchmark mode", "cuDNN's attention first"):
            yield choice_row(bench, "G21", choice, f"SD 1.5 step, {rows} rows, {side}x{side}", step)
    vae = twin(bench.sd.a, torch.float32).vae
    latents = torch.randn(1, 4, side // 8, side // 8, device=bench.hardware.device)

    @torch.inference_mode()
    def decode() -> torch.Tensor:
        return torch.as_tensor(vae.decode(latents, return_dict=False)[0])

    yield choice_row(bench, "G21", "TF32 off", f"VAE decode in float32, {side}x{side}", decode)


def g22(bench: Bench) -> Iterator[Row]:
    model, side = bench.flux.ours, bench.side(1024)
    samples = [begun(model, request(side, steps=4, scheduler=None, guidance_scale=30.0))]
    what = f"FLUX.1 Fill step, 1 row, {side}x{side}"
    yield choice_row(bench, "G22", "cuDNN's attention first", what, partial(stepped, model, samples))


def stepped(model: Any, samples: list[DenoisingState]) -> torch.Tensor:
    return torch.cat(model.predict(samples))


ROWS = {"G21": g21, "G22": g22}
SECONDS = {"G21": 90.0, "G22": 120.0}
