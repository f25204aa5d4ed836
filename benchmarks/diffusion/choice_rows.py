"""Rows of a GPU: ways to compute a step that the engine does not take by default, beside the way that it takes.

On a CPU the rows only walk the path: it has other kernels of attention and no streams.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from diffusers.hooks import HookRegistry, group_offloading
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.compiled_rows import choice_row, flux_sample, sdxl_sample, stepped
from benchmarks.diffusion.gpu_rows import batch
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import begun, request
from inpainting.engines.diffusion import first_block_cache
from inpainting.engines.diffusion.first_block_cache import FirstBlockCache
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.networks.device.compilation import import_compiler
from inpainting.networks.device.hardware import Offload
from inpainting.networks.device.quantization import QUANTIZATIONS, is_installed, quantize, stored_bytes
from tests.support import tiny_models

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
    firsts = FIRST_OF_CUDA if bench.hardware.is_cuda else FIRST_OF_CPU
    for model, (what, samples) in unet_steps(bench):
        yield from attention_rows(bench, "G26", firsts, model, what, samples)


def g29(bench: Bench) -> Iterator[Row]:
    firsts = FIRST_OF_CUDA if bench.hardware.is_cuda else FIRST_OF_CPU
    yield from attention_rows(bench, "G29", firsts, bench.flux.ours, *flux_sample(bench))


def attention_rows(
    bench: Bench, key: str, firsts: dict[str, SDPBackend], model: Any, what: str, samples: list[DenoisingState]
) -> Iterator[Row]:
    for name, first in firsts.items():
        kernels = [first, *(kernel for kernel in (*firsts.values(), MATH) if kernel is not first)]
        chosen = partial(with_kernels, kernels, model, samples)
        choice = f"attention by {name} where it can"
        yield choice_row(bench, key, what, choice, partial(stepped, model, samples), chosen)


def unet_steps(bench: Bench) -> list[tuple[Any, tuple[str, list[DenoisingState]]]]:
    side = bench.side(512)
    return [
        (bench.sd.ours, (f"SD 1.5 step, 2 rows, {side}x{side}", batch(bench, 2))),
        (bench.sdxl.ours, sdxl_sample(bench)),
    ]


def g30(bench: Bench) -> Iterator[Row]:
    for model, (what, samples) in unet_steps(bench):
        yield fused_projections(bench, "G30", model, what, samples)


def g31(bench: Bench) -> Iterator[Row]:
    yield fused_projections(bench, "G31", bench.flux.ours, *flux_sample(bench))


def fused_projections(bench: Bench, key: str, model: Any, what: str, samples: list[DenoisingState]) -> Row:
    """Queries, keys and values by one product of matrices (`fuse_qkv_projections` of diffusers)."""
    step, network, inner = partial(stepped, model, samples), model.network, 1 if bench.small else 5
    usual = bench.contest({"ours": step}, budget_seconds=8, inner=inner, warm=2)["ours"]
    expected = step()
    network.fuse_qkv_projections()
    try:
        fused = bench.contest({"a": step}, budget_seconds=8, inner=inner, warm=2)["a"]
        parity = difference(step(), expected)
    finally:
        network.unfuse_qkv_projections()
    return Row(key, f"{what}: fused projections", usual, fused, parity=parity, note="A: fused; measured after ours")


def g32(bench: Bench) -> Iterator[Row]:
    """SDXL's VAE in bfloat16, as the engine holds it, and converted to float32 and back as by diffusers' pipeline."""
    model, side, device = bench.sdxl.ours, bench.side(1024), bench.hardware.device
    codec, plain = model.codec(), bench.sdxl.a.vae
    for count in (1, 4):
        latents = torch.randn(count, 4, side // 8, side // 8, device=device)

        @torch.inference_mode()
        def upcast(latents: torch.Tensor = latents) -> torch.Tensor:
            own = plain.dtype
            plain.to(torch.float32)
            decoded = plain.decode(latents / plain.config.scaling_factor, return_dict=False)[0]
            plain.to(own)
            pixels = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1) * 255
            return torch.as_tensor(pixels.round().to(torch.uint8).cpu())

        ours = partial(codec.decode, latents)
        found = bench.contest({"ours": ours, "a": upcast}, budget_seconds=8, warm=2)
        yield Row(
            "G32",
            f"SDXL decode {side}x{side}, {count} at once, to uint8 on the host",
            found["ours"],
            found["a"],
            parity=difference(np.stack(ours()).astype(float), upcast().double()),
            note=f"ours: {str(codec.dtype).removeprefix('torch.')}; A: converted to float32 and back",
        )


def g33(bench: Bench) -> Iterator[Row]:
    """A transformer with fewer bits of weights: what a step costs, and the memory."""
    base, (what, samples) = bench.flux.ours, flux_sample(bench)
    network, step = base.transformer, partial(stepped, base, samples)
    expected, whole = step(), sum(map(stored_bytes, network.parameters()))
    for word in ("float8", "int8", "nf4"):
        if not is_installed(QUANTIZATIONS[word].library):
            continue
        small = copy.deepcopy(network)
        quantize(small, word, bench.hardware.device)
        taken = sum(map(stored_bytes, small.parameters()))
        parts = {**base.pipeline.components, "transformer": small}
        pipeline = type(base.pipeline)(**parts, **tiny_models.switches(base.pipeline))
        quantized = type(base)(pipeline, replace(base.hardware, quantization=word), base.spec)
        found = bench.contest(
            {"ours": step, "a": partial(stepped, quantized, samples)}, budget_seconds=10, inner=1, warm=1
        )
        parity = difference(stepped(quantized, samples), expected)
        note = f"A: {word}, {taken / 1e9:.2f} GB of weights in place of {whole / 1e9:.2f}; parity is that of the bits"
        yield Row("G33", f"{what}: {word}", found["ours"], found["a"], parity=parity, gate=0.5, note=note)
        del quantized, pipeline, parts, small
        bench.hardware.empty_cache()


def g34(bench: Bench) -> Iterator[Row]:
    """What the first-block cache costs where it skips nothing, and gains where it skips all it can.

    How many steps it skips depends on the weights, and random ones tell nothing of it.
    """
    model, (what, samples) = bench.flux.ours, flux_sample(bench)
    step, inner = partial(stepped, model, samples), 1 if bench.small else 3
    expected = step()
    for threshold, choice in ((-1.0, "no step skipped"), (1e9, "each step skipped after the first")):
        cache = FirstBlockCache()
        usual = first_block_cache.THRESHOLDS["balanced"]
        first_block_cache.THRESHOLDS["balanced"] = threshold

        def cached(cache: FirstBlockCache = cache) -> torch.Tensor:
            with cache.applied(model.network, samples[0], "balanced"):
                return step()

        try:
            found = bench.contest({"a": cached}, budget_seconds=8, inner=inner, warm=2)["a"]
            parity = difference(cached(), expected)
        finally:
            first_block_cache.THRESHOLDS["balanced"] = usual
            cache.remove()
        plain = bench.contest({"ours": step}, budget_seconds=8, inner=inner, warm=2)["ours"]
        yield Row("G34", f"{what}: first-block cache, {choice}", plain, found, parity=parity, note="A: with the cache")


def g40(bench: Bench) -> Iterator[Row]:
    """Images of 28 steps with the first-block cache, beside the same without.

    What it changes depends on the weights: random ones show that the comparison runs, not how good the images are. The
    last row skips every step but the first, which no setting does.
    """
    model, side = bench.flux.ours, bench.side(1024)
    wanted = request(side, steps=28, scheduler=None, guidance_scale=30.0)
    blocks = model.network.single_transformer_blocks

    @torch.inference_mode()
    def painted(level: str) -> tuple[torch.Tensor, int]:
        """The latents, and the number of steps in which the last block computed."""
        whole: list[int] = []
        handle = blocks[-1].attn.register_forward_hook(lambda *_: whole.append(1))
        cache, image = FirstBlockCache(), begun(model, wanted)
        try:
            while not image.is_done:
                with cache.applied(model.network, image, level) if level != "off" else nullcontext():
                    (answer,) = model.predict([image])
                image.advance(answer)
        finally:
            handle.remove()
            cache.remove()
        return image.latents, len(whole)

    expected, steps = painted("off")
    for level, threshold in {**first_block_cache.THRESHOLDS, "all it can": 1e9}.items():
        with patch.dict(first_block_cache.THRESHOLDS, {level: threshold}):
            found = bench.contest(
                {"ours": partial(painted, "off"), "a": partial(painted, level)}, budget_seconds=20, inner=1, warm=0
            )
            latents, computed = painted(level)
        yield Row(
            "G40",
            f"FLUX.1 Fill image of {steps} steps, {side}x{side}: cache {level}",
            found["ours"],
            found["a"],
            parity=difference(latents, expected),
            gate=math.inf,
            note=f"A: threshold {threshold:g}, {computed} of {steps} steps whole; parity is that of the latents",
            more={"whole_steps": computed, "steps": steps},
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


def g38(bench: Bench) -> Iterator[Row]:
    """Weights of convolutions as files have them, and in rows of channels (channels last)."""
    side = bench.side(512)
    sdxl = sdxl_sample(bench)
    four = [begun(bench.sdxl.ours, request(bench.side(1024), seed=seed, steps=4)) for seed in range(4)]
    cases: list[tuple[str, Any, Callable[[], Any]]] = [
        (f"SD 1.5 step, 16 rows, {side}x{side}", bench.sd.ours.unet, partial(stepped, bench.sd.ours, batch(bench, 16))),
        (sdxl[0], bench.sdxl.ours.unet, partial(stepped, bench.sdxl.ours, sdxl[1])),
        ("SDXL step, 8 rows", bench.sdxl.ours.unet, partial(stepped, bench.sdxl.ours, four)),
    ]
    for model, size in ((bench.sd.ours, side), (bench.sdxl.ours, bench.side(1024))):
        codec, device = model.codec(), bench.hardware.device
        latents = torch.randn(2, 4, size // 8, size // 8, device=device)
        seen = torch.rand(1, 3, size, size, device=device) * 2 - 1
        what = f"{model.spec.slug}, {str(codec.dtype).removeprefix('torch.')}, {size}x{size}"
        cases += [
            (f"decode 2 of {what}", model.vae, partial(codec.decode, latents)),
            (f"encode 1 of {what}", model.vae, torch.inference_mode()(partial(codec.encode, seen, None))),
        ]
    for what, network, call in cases:
        inner = 1 if bench.small else 3
        usual = bench.contest({"ours": call}, budget_seconds=4, inner=inner, warm=2)["ours"]
        network.to(memory_format=torch.channels_last)
        other = bench.contest({"a": call}, budget_seconds=4, inner=inner, warm=2)["a"]
        changed = numbers(call())
        network.to(memory_format=torch.contiguous_format)
        yield Row("G38", what, usual, other, parity=difference(numbers(call()), changed), note="A: channels last")


def numbers(found: Any) -> torch.Tensor:
    return torch.as_tensor(np.stack(found)).float() if isinstance(found, list) else found.float()


def g39(bench: Bench) -> Iterator[Row]:
    """How long the device takes for the kernels of a step where nothing waits for Python: replayed as a CUDA graph."""
    if not bench.hardware.is_cuda:
        return
    for model, (what, samples) in unet_steps(bench):
        taken: dict[str, Any] = {}
        handle = model.network.register_forward_pre_hook(
            lambda _, given, named: taken.update(given=given, named=named),  # noqa: B023
            with_kwargs=True,
        )
        stepped(model, samples)
        handle.remove()

        @torch.inference_mode()
        def plain(network: Any = model.network, taken: dict[str, Any] = taken) -> torch.Tensor:
            return torch.as_tensor(network(*taken["given"], **taken["named"])[0])

        bench.hardware.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                plain()
        bench.hardware.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            answer = plain()
        found = bench.contest({"ours": plain, "a": graph.replay}, budget_seconds=4, inner=5, warm=2)
        graph.replay()
        yield Row("G39", what, found["ours"], found["a"], parity=difference(answer, plain()), note="A: CUDA graph")


ROWS = {
    "G38": g38,
    "G39": g39,
    "G26": g26,
    "G29": g29,
    "G30": g30,
    "G31": g31,
    "G32": g32,
    "G34": g34,
    "G40": g40,
    "G27": g27,
    "G33": g33,
    "G28": g28,
}
SECONDS = {
    "G38": 60.0,
    "G39": 30.0,
    "G26": 60.0,
    "G29": 60.0,
    "G30": 60.0,
    "G31": 60.0,
    "G32": 60.0,
    "G34": 60.0,
    "G40": 60.0,
    "G27": 120.0,
    "G33": 120.0,
    "G28": 120.0,
}
