"""Rows of a GPU about serving: LoRAs, previews, models that take turns, mixed sizes, the first request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny

from benchmarks.diffusion import first_request
from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.gpu_rows import pixels, plain_step, saved_model
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import batcher_with, begun, photo, plain_job, request, request_for, spec_of, twin
from benchmarks.diffusion.serving import ignore
from benchmarks.turns import Figure
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion import previews
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.support import tiny_loras

LORA, WEIGHT = "ink", 0.8


# LoRAs


def g12(bench: Bench) -> Iterator[Row]:
    """One LoRA of rank 16 on the attention of the UNet."""
    sides, side = bench.sd, bench.side(512)
    tensors = tiny_loras.weights(twin(sides.a, torch.float32).to("cpu"), rank=16, parts=["unet"])
    file = tiny_loras.saved(
        bench.scratch / f"{LORA}.safetensors", {name: 0.1 * tensor for name, tensor in tensors.items()}
    )
    lora = ActiveLora(LoraSpec(LORA, LORA, "sd", path=file), WEIGHT)
    unfused, fused = (twin(sides.a, bench.hardware.dtype) for _ in range(2))
    for pipeline in (unfused, fused):
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=LORA)
        pipeline.set_adapters([LORA], [WEIGHT])
    fused.fuse_lora(components=["unet"])
    fused.unload_lora_weights()
    sides.ours.loras.load(lora)
    sides.ours.loras.activate((lora,))
    try:
        for rows in (2, 16):
            samples = [begun(sides.ours, request(side, seed=seed, steps=4)) for seed in range(rows // 2)]
            calls: dict[str, Any] = {
                "ours": lambda samples=samples: torch.cat(sides.ours.predict(samples)),
                "a": lambda samples=samples: plain_step(unfused, samples),
                "b": lambda samples=samples: plain_step(fused, samples),
            }
            found = bench.contest(calls, budget_seconds=8, inner=1 if bench.small else 5, warm=2)
            yield Row(
                "G12",
                f"SD 1.5 step with one LoRA, {rows} rows, {side}x{side}",
                found["ours"],
                found["a"],
                found["b"],
                parity=difference(calls["ours"](), calls["a"]()),
                note="A: diffusers with the LoRA beside the weights; B: fused into them, eager",
            )
    finally:
        sides.ours.loras.activate(())
        sides.ours.loras.evict_one(keep=())


# Previews


def g13(bench: Bench) -> Iterator[Row]:
    """Eight previews by a tiny VAE of the published shape."""
    side, device, dtype = bench.side(512), bench.hardware.device, bench.hardware.dtype
    torch.manual_seed(0)
    decoder = AutoencoderTiny().to(device, dtype).eval().decoder
    wanted = [request(side, seed=seed, steps=4) for seed in range(8)]
    states = [begun(bench.sd.ours, item) for item in wanted]
    windows = [np.asarray(item.image.pixels, np.uint8) for item in wanted]
    shows = [previews.make_previewer(window, state, decoder) for window, state in zip(windows, states, strict=True)]

    def ours() -> list[Any]:
        due = [(show, state) for show, state in zip(shows, states, strict=True) if show is not None]
        return [compose() for compose in previews.previews_of(due)]

    @torch.inference_mode()
    def plain() -> list[Any]:
        """Decoded one after another and put together on the host, as a callback of diffusers would do it."""
        shown = []
        for window, state, item in zip(windows, states, wanted, strict=True):
            colours = decoder(state.latents.to(device, dtype))[0].float().permute(1, 2, 0) * 127.5 + 127.5
            painted = colours.cpu().numpy().round().clip(0, 255).astype(np.uint8)
            shown.append(np.where(item.mask[:, :, None] > 0, painted, window))
        return shown

    found = bench.contest({"ours": ours, "a": plain}, budget_seconds=5, warm=2)
    yield Row(
        "G13",
        f"8 previews, {side}x{side}, by a tiny VAE",
        found["ours"],
        found["a"],
        parity=difference(pixels(ours()), pixels(plain())),
        note="A: decoded one after another, eager",
    )


# Models that take turns


def g14(bench: Bench) -> Iterator[Row]:
    """Two models of which one fits: each request waits for its model's files to be read."""
    sides, folder, side = bench.sd, saved_model(bench), bench.side(512)
    specs = [
        ModelSpec(slug, slug, "sd", path=folder, width=side, height=side, scheduler=spec_of("sd", side).scheduler)
        for slug in ("one", "other")
    ]
    cache = ModelCache(bench.hardware, int(1.5 * weights_bytes(specs[0], bench.hardware.dtype)))
    batcher, wanted, turn = Batcher(cache), request(side, steps=1), iter(range(10**6))
    painted: dict[str, Any] = {}

    def ours() -> None:
        painted["ours"] = batcher.paint(wanted, specs[next(turn) % 2], ignore)[0][0]

    def plain() -> None:
        pipeline = (
            type(sides.a)
            .from_pretrained(
                folder, torch_dtype=bench.hardware.dtype, local_files_only=True, safety_checker=None, image_encoder=None
            )
            .to(bench.hardware.device)
        )
        pipeline.set_progress_bar_config(disable=True)
        painted["a"] = plain_job(pipeline, wanted)

    found = bench.contest({"ours": ours, "a": plain}, budget_seconds=25)
    yield Row(
        "G14",
        "a request for the other of two models of which one fits, 1 step",
        found["ours"],
        found["a"],
        parity=difference(painted["ours"].astype(float), painted["a"].astype(float)),
        note="warm file cache; A: from_pretrained for each request; ours checks the files first",
    )


# Mixed sizes


def g15(bench: Bench) -> Iterator[Row]:
    sides, steps = bench.sd, 2 if bench.small else 20
    sizes = [(bench.side(height), bench.side(width)) for height, width in ((512, 512), (512, 768), (768, 512)) * 2]
    wanted = [masked_photo(height, width, seed, steps) for seed, (height, width) in enumerate(sizes)]
    batcher, painted = batcher_with(sides.ours), {}

    def together() -> None:
        with ThreadPoolExecutor(len(wanted)) as pool:
            painted["ours"] = list(pool.map(lambda sent: batcher.paint(sent, sides.ours.spec, ignore)[0][0], wanted))

    def in_turn() -> None:
        painted["a"] = [plain_job(sides.a, item) for item in wanted]

    together()  # the tuner finds while it runs how many rows pay off
    found = bench.contest({"ours": together, "a": in_turn}, budget_seconds=15)
    flat = {
        name: np.concatenate([element.ravel() for element in shown]).astype(float) for name, shown in painted.items()
    }
    yield Row(
        "G15",
        f"SD 1.5, 6 people with images of 3 sizes, {steps} guided steps; seconds for all",
        found["ours"],
        found["a"],
        parity=difference(flat["ours"], flat["a"]),
        note="A: one after another, eager",
    )


def masked_photo(height: int, width: int, seed: int, steps: int) -> InpaintRequest:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 8 : width // 2] = 255
    return request_for(photo(height, width, seed), mask, seed=seed, steps=steps)


# The first request


def g16(bench: Bench) -> Iterator[Row]:
    """In processes of their own, because a device is set up once a process."""
    folder, side = saved_model(bench), bench.side(512)
    command = [sys.executable, "-m", first_request.__name__, str(folder), bench.hardware.device.type, str(side)]
    times: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(2):
        for name, found in times.items():
            done = subprocess.run([*command, name], env=os.environ, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    ours, plain = (Figure(tuple(item["first"] for item in found)) for found in times.values())
    least = {key: min(time[key] for time in times["ours"]) for key in ("loading", "second")}
    yield Row(
        "G16",
        "the first request of a process, 2 guided steps, after its model is loaded",
        ours,
        plain,
        note=f"ours: loading and warm-up {least['loading']:.3g} s before, the second request {least['second']:.3g} s; "
        "A: from_pretrained; a time without an image has no parity",
    )


ROWS = {"G12": g12, "G13": g13, "G14": g14, "G15": g15, "G16": g16}
SECONDS = {"G12": 40.0, "G13": 15.0, "G14": 60.0, "G15": 45.0, "G16": 90.0}
