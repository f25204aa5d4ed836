"""Rows of a GPU: ways to compute a step that the engine does not take by default, beside the way that it takes.

On a CPU the rows only walk the path: it has other kernels of attention and no streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from diffusers.hooks import HookRegistry, group_offloading
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.compiled_rows import choice_row, flux_sample, stepped
from benchmarks.diffusion.gpu_rows import batch
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, request
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.networks.device.compilation import import_compiler
from inpainting.networks.device.hardware import Offload
from inpainting.networks.device.quantization import QUANTIZATIONS, is_installed, quantize, stored_bytes

MATH, FLASH = SDPBackend.MATH, SDPBackend.FLASH_ATTENTION
CUDNN, EFFICIENT = SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION
FIRST_OF_CUDA = {"cuDNN": CUDNN, "FlashAttention": FLASH, "memory-efficient": EFFICIENT}
FIRST_OF_CPU = {"plain": MATH, "FlashAttention": FLASH}
HOOKS_OF_GROUPS = (
    group_offloading._GROUP_OFFLOADING,
    group_offloading._LAZY_PREFETCH_GROUP_OFFLOADING,
    group_offloading._LAYER_EXECUTION_TRACKER,
)


@torch.inference_mode()
def with_kernels(kernels: Sequence[SDPBackend], model: Any, samples: list[DenoisingState]) -> torch.Tensor:
    """A step whose attention is computed by the first of these kernels that can, as `set_attention_backend` of
    diffusers lets transformers choose, for UNets too and without a default that stays for the process."""
    with sdpa_kernel(list(kernels), set_priority=True):
        return stepped(model, samples)


def g26(bench: Bench) -> Iterator[Row]:
    sdxl = bench.sdxl.ours
    side = bench.side(1024)
    cases = [
        (bench.sd.ours, f"SD 1.5 step, 2 rows, {bench.side(512)}x{bench.side(512)}", batch(bench, 2)),
        (sdxl, f"SDXL step, 2 rows, {side}x{side}", [begun(sdxl, request(side, steps=4))]),
        (bench.flux.ours, *flux_sample(bench)),
    ]
    firsts = FIRST_OF_CUDA if bench.hardware.is_cuda else FIRST_OF_CPU
    for model, what, samples in cases:
        for name, first in firsts.items():
            kernels = [first, *(kernel for kernel in (*firsts.values(), MATH) if kernel is not first)]
            chosen = partial(with_kernels, kernels, model, samples)
            yield choice_row(
                bench, "G26", what, f"attention by {name} where it can", partial(stepped, model, samples), chosen
            )


def g27(bench: Bench) -> Iterator[Row]:
    """Layers that wait in the machine's memory: by accelerate as the engine does, and by diffusers' groups.

    With streams a layer is copied while the one before computes, from memory that is pinned for as long.
    """
    model, (what, samples) = bench.flux.ours, flux_sample(bench)
    step, network = partial(stepped, model, samples), model.transformer
    whole = step()
    moved = sum(map(stored_bytes, network.parameters()))
    if bench.hardware.is_cuda:  # the CPU is not apart from its own memory
        model.hardware.offload(model.pipeline, Offload.LAYERS)
    usual = bench.contest({"ours": step}, budget_seconds=60, warm=1)["ours"]
    apart = step()
    if bench.hardware.is_cuda:
        model.hardware.remove(model.pipeline)
    # A copy that waits for its turn must not be overwritten before the layer has computed: record_stream.
    streams = {"use_stream": True, "record_stream": True} if bench.hardware.is_cuda else {}
    network.enable_group_offload(model.hardware.device, offload_type="leaf_level", **streams)
    grouped = bench.contest({"a": step}, budget_seconds=60, warm=2)["a"]
    parity = max(difference(step(), whole), difference(apart, whole))
    for hook in HOOKS_OF_GROUPS:
        HookRegistry.check_if_exists_or_initialize(network).remove_hook(hook, recurse=True)
    model.hardware.place(model.pipeline)
    note = f"ours: accelerate; A: group_offload with streams; {moved / 1e9:.2f} GB of weights are copied in a step"
    yield Row("G27", f"{what}: layers in the machine's memory", usual, grouped, parity=parity, note=note)


def g28(bench: Bench) -> Iterator[Row]:
    """Compiled blocks that multiply numbers of 8 bits. It changes the weights: the last row of a run."""
    word = "float8-dynamic"
    if not is_installed(QUANTIZATIONS[word].library) or not bench.hardware.is_cuda:
        return
    import_compiler()
    base, (what, samples) = bench.flux.ours, flux_sample(bench)
    makes = replace(base.hardware, compilation="blocks")
    whole = type(base)(base.pipeline, makes, base.spec)
    before = bench.contest({"ours": partial(stepped, whole, samples)}, budget_seconds=20, inner=3, warm=2)["ours"]
    expected = stepped(whole, samples)
    quantize(base.transformer, word, base.hardware.device)
    small = type(base)(base.pipeline, replace(makes, quantization=word), base.spec)
    after = bench.contest({"a": partial(stepped, small, samples)}, budget_seconds=20, inner=3, warm=2)["a"]
    note = "ours: compiled in bfloat16; A: compiled, weights and their inputs in 8 bits; parity is that of 8 bits"
    yield Row("G28", f"{what}: {word}", before, after, parity=difference(stepped(small, samples), expected), note=note)


ROWS = {"G26": g26, "G27": g27, "G28": g28}
SECONDS = {"G26": 240.0, "G27": 300.0, "G28": 240.0}
