"""Rows of a GPU whose memory is short: another allocation leaves as much as a smaller card would.

On a CPU the rows only walk the path, with all the memory there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.gpu_rows import pixels, saved_model
from benchmarks.diffusion.measuring import Row, difference, timed
from benchmarks.diffusion.models import request, spec_of
from benchmarks.diffusion.serving import ignore
from benchmarks.turns import once
from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Offload

CONTEXT_BYTES = 500 * 2**20
"""What CUDA and its libraries take of a card beside the tensors, about."""


@contextmanager
def card_of(bench: Bench, gibibytes: float, weights: int = 0) -> Iterator[None]:
    """Leave what a card of that size has beside so many bytes of weights that are on it already."""
    if not bench.hardware.is_cuda:
        yield
        return
    bench.hardware.empty_cache()
    room = int(gibibytes * 2**30) - CONTEXT_BYTES - weights
    free, _ = torch.cuda.mem_get_info(bench.hardware.device)  # blocks that torch caches may be too small
    ballast = torch.empty(free - room, dtype=torch.uint8, device=bench.hardware.device)
    try:
        yield
    finally:
        del ballast
        bench.hardware.empty_cache()


def painted(batcher: Batcher, wanted: Sequence[InpaintRequest], spec: ModelSpec) -> tuple[Any, set[str]]:
    """The images of several people at once, and all notes of their metadata."""
    with ThreadPoolExecutor(len(wanted)) as pool:
        found = [*pool.map(lambda sent: batcher.paint(sent, spec, ignore), wanted)]
    return pixels([images[0] for images, _ in found]), {note for _, notes in found for note in notes}


def short_row(bench: Bench, model: Any, what: str, wanted: Sequence[InpaintRequest], gibibytes: float) -> Row:
    """A loaded model with all the memory there is, and then with that of a smaller card, measured once each."""

    def batcher() -> Batcher:
        cache = ModelCache(model.hardware, 10**15)
        cache.memory.add(model)
        return Batcher(cache)

    kept: dict[str, tuple[Any, set[str]]] = {}
    plain, short = batcher(), batcher()
    painted(plain, wanted[:1], model.spec)
    roomy = timed(bench.hardware, lambda: kept.update(a=painted(plain, wanted, model.spec))).wall
    with card_of(bench, gibibytes, model.byte_count):
        first = timed(bench.hardware, lambda: kept.update(first=painted(short, wanted, model.spec))).wall
        again = timed(bench.hardware, lambda: kept.update(ours=painted(short, wanted, model.spec))).wall
    model.leave_device()
    model.enter_device(Offload.NONE)
    notes = " ".join(sorted(kept["ours"][1])) or "no measure"
    return Row(
        "G35",
        f"{what}, on {gibibytes:g} GB",
        once(again),
        once(roomy),
        parity=max(difference(kept[name][0], kept["a"][0]) for name in ("first", "ours")),
        note=f"A: with all memory; the first time {first:.3g} s; {notes}",
    )


def g35(bench: Bench) -> Iterator[Row]:
    """Models that fit, whose steps do not."""
    steps, side = 2 if bench.small else 8, bench.side(512)
    many = [request(side, seed=seed, steps=steps) for seed in range(16)]
    sd = bench.sd.ours
    yield short_row(bench, sd, f"SD 1.5, 16 at once, {side}x{side}, {steps} steps", many, 3.5)
    yield short_row(bench, sd, f"SD 1.5, {2 * side}x{2 * side}, {steps} steps", [request(2 * side, steps=steps)], 2.8)
    sdxl, side = bench.sdxl.ours, bench.side(1024)
    four = [request(side, seed=seed, steps=steps) for seed in range(4)]
    yield short_row(bench, sdxl, f"SDXL, 4 at once, {side}x{side}, {steps} steps", four, 8)


def g36(bench: Bench) -> Iterator[Row]:
    """A model that does not fit while it is loaded."""
    folder, side, steps = saved_model(bench), bench.side(512), 2 if bench.small else 8
    spec, wanted = spec_of("sd", side, folder), [request(side, steps=steps)]
    expected, _ = painted(Batcher(ModelCache(bench.hardware, 10**15)), wanted, spec)
    for gibibytes in (2.6, 1.4):
        with card_of(bench, gibibytes):
            batcher = Batcher(ModelCache(bench.hardware, 10**15))
            kept: dict[str, Any] = {}
            first = timed(bench.hardware, lambda: kept.update(it=painted(batcher, wanted, spec))).wall  # noqa: B023
            again = timed(bench.hardware, lambda: kept.update(it=painted(batcher, wanted, spec))).wall  # noqa: B023
        images, notes = kept["it"]
        yield Row(
            "G36",
            f"load SD 1.5 on {gibibytes:g} GB, and {steps} steps",
            once(again),
            parity=difference(images, expected),
            note=f"the first time, with the load, {first:.3g} s; {' '.join(sorted(notes)) or 'no measure'}",
        )


def g37(bench: Bench) -> Iterator[Row]:
    """FLUX.1 Fill on a card that holds its weights and no step."""
    steps, side = 2, bench.side(1024)
    wanted = [request(side, steps=steps, scheduler=None, guidance_scale=30.0)]
    yield short_row(bench, bench.flux.ours, f"FLUX.1 Fill, {side}x{side}, {steps} steps", wanted, 24)


ROWS = {"G35": g35, "G36": g36, "G37": g37}
SECONDS = {"G35": 60.0, "G36": 60.0, "G37": 60.0}
