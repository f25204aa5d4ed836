"""The rows of a GPU. Peer A: diffusers in float16, eager; peer B: channels last and compiled blocks.

On a CPU with --small every row takes the same path, but for what only CUDA has: events, graphs and peaks of memory.
"""

from __future__ import annotations

import io
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.diffusion.bench import Bench, Sides, ceilings
from benchmarks.diffusion.cpu_rows import Watched, planned, window_parity
from benchmarks.diffusion.measuring import Row, difference, timed
from benchmarks.diffusion.models import (
    batcher_with,
    begun,
    flop,
    flux_flop,
    job_flop,
    photo,
    plain_job,
    plain_jobs,
    request,
    request_for,
    spec_of,
    twin,
)
from benchmarks.diffusion.serving import Arrival, Served, ignore, in_batches, one_at_a_time, step_by_step
from benchmarks.turns import Figure, once
from inpainting import families
from inpainting.core.codecs import encode_png
from inpainting.core.errors import Cancelled
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Step
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.painting import paint
from inpainting.families.flux.network import FluxState

EVERY_STEPS = 3
"""People arrive as often as a plain loop takes for so many steps."""


def g0(bench: Bench) -> Iterator[Row]:
    side, copied = (512, 10**7) if bench.small else (8192, 2 * 10**9)
    yield ceilings(bench, side=side, copied_bytes=copied, name="G0")


# One step


@torch.inference_mode()
def plain_step(pipeline: Any, samples: Sequence[DenoisingState], **more: Any) -> torch.Tensor:
    """The same rows through a pipeline's own UNet. more: its further arguments."""
    dtype, device = pipeline.unet.dtype, pipeline.unet.device
    inputs = group_of(samples).model_input.to(dtype)
    times = torch.cat([sample.step_timesteps for sample in samples]).to(device)
    text = torch.cat([sample.text.embeds for sample in samples]).to(dtype)
    return torch.as_tensor(
        pipeline.unet(inputs, times, encoder_hidden_states=text, return_dict=False, **more)[0].float()
    )


def batch(bench: Bench, rows: int) -> list[DenoisingState]:
    side = bench.side(512)
    if rows == 1:
        return [begun(bench.sd.ours, request(side, steps=4, guidance_scale=1.0))]
    return [begun(bench.sd.ours, request(side, seed=seed, steps=4)) for seed in range(rows // 2)]


def g1(bench: Bench) -> Iterator[Row]:
    sides, side = bench.sd, bench.side(512)
    row_flop = flop(sides.ours, "unet", Size(side, side))
    for rows in (1, 2, 4, 8, 16, 32):
        samples = batch(bench, rows)
        calls: dict[str, Callable[[], Any]] = {
            "ours": lambda samples=samples: torch.cat(sides.ours.predict(samples)),  # type: ignore[misc]
            "a": lambda samples=samples: plain_step(sides.a, samples),  # type: ignore[misc]
        }
        if rows in (2, 16):  # each number of rows is compiled anew
            calls["b"] = lambda samples=samples: plain_step(sides.b, samples)  # type: ignore[misc]
        found = bench.contest(calls, budget_seconds=12, inner=1 if bench.small else 5, warm=2)
        bench.steps.setdefault(rows, found)
        floor, parity = bench.floor(rows * row_flop), difference(calls["ours"](), calls["a"]())
        yield Row(
            "G1", f"SD 1.5 step, {rows} rows, {side}x{side}", found["ours"], found["a"], found.get("b"), floor, parity
        )


# A whole job


def g2(bench: Bench) -> Iterator[Row]:
    steps = 4 if bench.small else 50
    yield job_row(bench, "G2", bench.sd, bench.side(512), images=1, steps=steps, budget_seconds=25)


def job_row(bench: Bench, key: str, sides: Sides, side: int, *, images: int, steps: int, budget_seconds: float) -> Row:
    """Image and mask to uint8 on the host; several images are several people at once."""
    wanted = [request(side, seed=seed, steps=steps) for seed in range(images)]
    batcher = batcher_with(sides.ours)
    paint_all(batcher, wanted, sides.ours)  # the tuner finds while it runs how many rows pay off
    calls = {
        "ours": lambda: paint_all(batcher, wanted, sides.ours),
        "a": lambda: pixels(plain_jobs(sides.a, wanted)),
        "b": lambda: pixels(plain_jobs(sides.b, wanted)),
    }
    found = bench.contest(calls, budget_seconds=budget_seconds)
    size = wanted[0].image.size
    return Row(
        key,
        f"{sides.ours.spec.slug} job {side}x{side}, {images} at once, {steps} guided steps",
        found["ours"],
        found["a"],
        found["b"],
        floor=bench.floor(images * job_flop(sides.ours, size, steps=steps, rows=2)),
        parity=difference(calls["ours"](), calls["a"]()),
    )


def paint_all(batcher: Any, wanted: Sequence[InpaintRequest], model: Any) -> NDArray[np.float64]:
    if len(wanted) == 1:
        return pixels(batcher.paint(wanted[0], model.spec, ignore)[0])
    with ThreadPoolExecutor(len(wanted)) as pool:
        return pixels([found[0][0] for found in pool.map(lambda sent: batcher.paint(sent, model.spec, ignore), wanted)])


def pixels(images: Sequence[Any]) -> NDArray[np.float64]:
    return np.stack([np.asarray(image) for image in images]).astype(np.float64)


def g4(bench: Bench) -> Iterator[Row]:
    for images, steps in ((4, 12), (1, 30)):
        steps = 2 if bench.small else steps
        yield job_row(bench, "G4", bench.sdxl, bench.side(1024), images=images, steps=steps, budget_seconds=20)


# FLUX.1 Fill


@torch.inference_mode()
def plain_flux_step(pipeline: Any, samples: Sequence[DenoisingState]) -> torch.Tensor:
    """The same rows through a pipeline's own transformer, as the loop of `FluxFillPipeline` calls it."""
    network = pipeline.transformer
    dtype, device = network.dtype, network.device
    height, width = samples[0].latents.shape[-2:]
    text = torch.cat([sample.text.embeds for sample in samples]).to(dtype)
    masked = torch.cat([sample.condition for sample in samples if isinstance(sample, FluxState)])
    patches = torch.as_tensor(
        network(
            hidden_states=torch.cat([pack(group_of(samples).latents), masked], dim=2).to(dtype),
            timestep=torch.cat([sample.step_timesteps for sample in samples]).to(device, dtype) / 1000,
            guidance=torch.tensor([sample.guidance for sample in samples], device=device),
            pooled_projections=torch.cat(
                [sample.text.pooled for sample in samples if sample.text.pooled is not None]
            ).to(dtype),
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, device=device, dtype=dtype),
            img_ids=pipeline._prepare_latent_image_ids(len(samples), height // 2, width // 2, device, dtype),
            return_dict=False,
        )[0].float()
    )
    return torch.as_tensor(pipeline._unpack_latents(patches, height, width, vae_scale_factor=1))


def g5(bench: Bench) -> Iterator[Row]:
    sides, side = bench.flux, bench.side(1024)
    row_flop = flux_flop(sides.ours, Size(side, side))
    for rows in (1, 4):
        wanted = [request(side, seed=seed, steps=4, scheduler=None, guidance_scale=30.0) for seed in range(rows)]
        samples = [begun(sides.ours, item) for item in wanted]
        calls: dict[str, Callable[[], Any]] = {
            "ours": lambda samples=samples: torch.cat(sides.ours.predict(samples)),  # type: ignore[misc]
            "a": lambda samples=samples: plain_flux_step(sides.a, samples),  # type: ignore[misc]
            "b": lambda samples=samples: plain_flux_step(sides.b, samples),  # type: ignore[misc]
        }
        found = bench.contest(calls, budget_seconds=25, inner=1 if bench.small else 3, warm=2)
        yield Row(
            "G5",
            f"FLUX.1 Fill step, {rows} rows, {side}x{side}",
            found["ours"],
            found["a"],
            found["b"],
            bench.floor(rows * row_flop),
            difference(calls["ours"](), calls["a"]()),
            note="all sides in bfloat16",
        )


# Requests that arrive over time


def g3(bench: Bench) -> Iterator[Row]:
    sides, side, steps = bench.sd, bench.side(512), 4 if bench.small else 30
    step = step_seconds(bench)
    batcher = batcher_with(sides.ours)
    for people in (8, 16):
        arrivals = [
            Arrival(index * EVERY_STEPS * step, request(side, seed=index, steps=steps)) for index in range(people)
        ]
        for _ in range(2):
            step_by_step(arrivals, batcher, sides.ours.spec)  # until the batch size is tuned
        contestants: dict[str, Callable[[], Served]] = {
            "ours": lambda arrivals=arrivals: step_by_step(arrivals, batcher, sides.ours.spec),  # type: ignore[misc]
            "a": lambda arrivals=arrivals: one_at_a_time(arrivals, partial(plain_job, sides.a)),  # type: ignore[misc]
            "b": lambda arrivals=arrivals: in_batches(  # type: ignore[misc]
                arrivals, lambda many: list(plain_jobs(sides.a, many)), most=8, window=float("inf")
            ),
        }
        rounds: dict[str, list[Served]] = {name: [] for name in contestants}
        for _ in range(2):
            for name, serve in contestants.items():
                rounds[name].append(serve())
        seconds = {name: Figure(tuple(entry.seconds for entry in served)) for name, served in rounds.items()}
        last = {name: served[-1] for name, served in rounds.items()}
        yield Row(
            "G3",
            f"SD 1.5, {people} people, one every {EVERY_STEPS} plain steps, {steps} guided steps; seconds for all",
            seconds["ours"],
            seconds["a"],
            seconds["b"],
            floor=bench.floor(people * job_flop(sides.ours, Size(side, side), steps=steps, rows=2)),
            parity=difference(pixels(last["ours"].images), pixels(last["a"].images)),
            note="A one at a time, B batches of 8 once all have come, both eager; "
            + "; ".join(f"{name}: {measured.summary()}" for name, measured in last.items()),
            more={name: {"p50": measured.wait(50), "p95": measured.wait(95)} for name, measured in last.items()},
        )


def step_seconds(bench: Bench) -> float:
    """Of the plain loop with one person in it."""
    samples = batch(bench, 2)
    plain_step(bench.sd.a, samples)
    return timed(bench.hardware, lambda: plain_step(bench.sd.a, samples), 3).wall


def g11(bench: Bench) -> Iterator[Row]:
    sides, side, people = bench.sd, bench.side(512), 16
    steps = 2 if bench.small else 10
    wanted = [request(side, seed=seed, steps=steps) for seed in range(people)]
    batcher = batcher_with(sides.ours)

    def ours(sent: InpaintRequest) -> bytes:
        return encode_png(CanonicalImage(batcher.paint(sent, sides.ours.spec, ignore)[0][0]))

    def plain(sent: InpaintRequest) -> bytes:
        file = io.BytesIO()
        Image.fromarray(plain_job(sides.a, sent)).save(file, "PNG")
        return file.getvalue()

    made: dict[str, list[bytes]] = {}

    def together() -> None:
        with ThreadPoolExecutor(people) as pool:
            made["ours"] = list(pool.map(ours, wanted))

    def in_turn(some: Sequence[InpaintRequest] = wanted) -> None:
        made["a"] = [plain(sent) for sent in some]

    together()
    found = bench.contest({"ours": together, "a": in_turn}, budget_seconds=15, warm=0)
    decoded = {name: pixels([Image.open(io.BytesIO(file)) for file in files]) for name, files in made.items()}
    # Of the plain loop two people are enough: all are served alike, and a profile of many kernels is slow to read.
    busy = {"ours": busy_share(bench, together), "a": busy_share(bench, lambda: in_turn(wanted[:2]))}
    yield Row(
        "G11",
        f"SD 1.5, {people} people at once, {steps} guided steps, to PNG; seconds for all",
        found["ours"],
        found["a"],
        floor=bench.floor(people * job_flop(sides.ours, Size(side, side), steps=steps, rows=2)),
        parity=difference(decoded["ours"], decoded["a"]),
        note=f"device busy: ours {100 * busy['ours']:.0f} %, A (one at a time) {100 * busy['a']:.0f} % of the wall "
        "clock",
        more={"busy": busy},
    )


def busy_share(bench: Bench, work: Callable[[], Any]) -> float:
    """Share of the wall clock in which the device had something to do, while a profiler looks on.

    Without CUDA the operators of this thread stand for the kernels.
    """
    hardware = bench.hardware
    activity = torch.profiler.ProfilerActivity
    kind = torch.autograd.DeviceType.CUDA if hardware.is_cuda else torch.autograd.DeviceType.CPU
    with torch.profiler.profile(activities=[activity.CUDA if hardware.is_cuda else activity.CPU]) as profiler:
        seconds = timed(hardware, work).wall
    spans = sorted(
        (event.time_range.start, event.time_range.end) for event in profiler.events() if event.device_type == kind
    )
    busy, until = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / 1e6 / seconds


# The VAE


def g6(bench: Bench) -> Iterator[Row]:
    sides = bench.sd
    in_float32 = twin(sides.a, torch.float32).vae
    for side in (bench.side(512), bench.side(1024)):
        for images in (1, 4):
            latents = torch.randn(images, 4, side // 8, side // 8, device=bench.hardware.device)
            shown = torch.rand(images, 3, side, side, device=bench.hardware.device) * 2 - 1
            yield vae_row(bench, in_float32, "decode", latents, side)
            yield vae_row(bench, in_float32, "encode", shown, side)


def vae_row(bench: Bench, in_float32: Any, part: str, given: torch.Tensor, side: int) -> Row:
    @torch.inference_mode()
    def run(vae: Any) -> torch.Tensor:
        if part == "decode":
            return torch.as_tensor(vae.decode(given.to(vae.dtype), return_dict=False)[0].float())
        return torch.as_tensor(vae.encode(given.to(vae.dtype)).latent_dist.mode().float())

    sides = bench.sd
    calls = {"ours": lambda: run(sides.ours.vae), "a": lambda: run(sides.a.vae), "b": lambda: run(in_float32)}
    found = bench.contest(calls, budget_seconds=4, warm=2)
    return Row(
        "G6",
        f"VAE {part} {side}x{side}, {len(given)} at once",
        found["ours"],
        found["a"],
        found["b"],
        floor=bench.floor(len(given) * flop(sides.ours, part, Size(side, side))),
        parity=difference(calls["ours"](), calls["b"]()),
        note="ours: as the engine keeps it, in float16; B and parity: AutoencoderKL in float32",
    )


# The window


def g8(bench: Bench) -> Iterator[Row]:
    sides, side, hole = bench.sd, bench.side(2048), bench.side(504)
    steps = 2 if bench.small else 20
    mask = np.zeros((side, side), np.uint8)
    mask[side // 2 : side // 2 + hole, side // 2 : side // 2 + hole] = 255
    wanted = request_for(photo(side, side), mask, steps=steps)
    smaller = photo(side // 2, side // 2), np.ascontiguousarray(mask[::2, ::2])
    halved, whole = request_for(*smaller, steps=steps), wanted
    engine = Watched(batcher_with(sides.ours), sides.ours.spec)
    work: list[Size] = []

    def ours() -> None:
        (painting,) = paint(planned(wanted, engine), engine, ignore)
        work.append(painting.work)

    calls = {"ours": ours, "a": lambda: plain_job(sides.a, halved), "b": lambda: plain_job(sides.a, whole)}
    found = bench.contest(calls, budget_seconds=15)
    yield Row(
        "G8",
        f"{side}x{side} photo, {100 * hole**2 / side**2:.0f} % masked, {steps} guided steps",
        found["ours"],
        found["a"],
        found["b"],
        floor=bench.floor(job_flop(sides.ours, work[0], steps=steps, rows=2)),
        parity=window_parity(bench, wanted, engine.images[0]),
        note=f"ours: the window at {work[0]}; A: the whole image at half its size, B: at its own, both eager; "
        "parity: the window compared with diffusers' result for the same window",
    )


# Operations


def g10(bench: Bench) -> Iterator[Row]:
    yield loading(bench)
    yield cancelling(bench)
    yield memory_of_a_row(bench)


def saved_model(bench: Bench) -> Path:
    """The folder of Stable Diffusion 1.5 with the weights of all sides."""
    folder = bench.scratch / "model"
    if not folder.exists():
        bench.sd.a.save_pretrained(folder, safe_serialization=True)
    return folder


def loading(bench: Bench) -> Row:
    folder = saved_model(bench)
    spec = spec_of("sd", bench.side(512), folder)
    dtype, device = bench.hardware.dtype, bench.hardware.device

    def plain() -> Any:
        kind = type(bench.sd.a)
        return kind.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, **families.get("sd").pipeline_arguments
        ).to(device)

    calls = {"ours": lambda: load(spec, bench.hardware), "a": plain}
    found = bench.contest(calls, budget_seconds=20)
    ours, theirs = (
        torch.cat([weight.flatten()[:1000].float().cpu() for weight in unet.state_dict().values()])
        for unet in (calls["ours"]().unet, plain().unet)
    )
    note = "warm file cache; ours checks the files first"
    return Row("G10", "load SD 1.5", found["ours"], found["a"], parity=difference(ours, theirs), gate=0.0, note=note)


def cancelling(bench: Bench) -> Row:
    """Time from the cancellation until the device is free."""
    sides, side = bench.sd, bench.side(512)
    wanted = request(side, steps=20 if bench.small else 50)
    batcher = batcher_with(sides.ours)
    cancelled_at: list[float] = []

    def stop(step: Step) -> None:
        if step.done >= 3:
            cancelled_at.append(time.perf_counter())
            raise Cancelled

    def ours() -> float:
        with suppress(Cancelled):
            batcher.paint(wanted, sides.ours.spec, stop)
        while not batcher.is_idle:
            threading.Event().wait(0.0002)
        return time.perf_counter() - cancelled_at[-1]

    def plain() -> float:
        def interrupt(pipeline: Any, index: int, time_now: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if index == 3:
                cancelled_at.append(time.perf_counter())
                pipeline._interrupt = True
            return tensors

        settings = wanted.settings
        sides.a(
            prompt=settings.prompt,
            image=Image.fromarray(np.asarray(wanted.image.pixels)),
            mask_image=Image.fromarray(wanted.mask),
            height=side,
            width=side,
            num_inference_steps=settings.steps,
            callback_on_step_end=interrupt,
        )
        bench.hardware.synchronize()
        return time.perf_counter() - cancelled_at[-1]

    ours(), plain()
    times = [(ours(), plain()) for _ in range(bench.repeats)]
    samples = batch(bench, 2)
    step = statistics.median(timed(bench.hardware, lambda: sides.ours.predict(samples)).wall for _ in range(3))
    return Row(
        "G10",
        "cancel to a free device",
        Figure(tuple(mine for mine, _ in times)),
        Figure(tuple(other for _, other in times)),
        note=f"one step of ours takes {step:.3g} s; A: the pipeline's own interrupt, up to its return; a time without "
        "an image has no parity",
    )


def memory_of_a_row(bench: Bench) -> Row:
    """Peak memory per additional row, between 2 and 16 rows; only CUDA reports it."""
    sides, hardware = bench.sd, bench.hardware
    few, many = batch(bench, 2), batch(bench, 16)

    def peak(call: Callable[[], Any]) -> int:
        before = hardware.reset_peak()
        call()
        hardware.synchronize()
        return hardware.peak_bytes() - before

    def a_row(step: Callable[[list[DenoisingState]], Any]) -> Figure:
        return once((peak(lambda: step(many)) - peak(lambda: step(few))) / 14 / 1e6)

    return Row(
        "G10",
        "memory of one more row at 512x512",
        a_row(sides.ours.predict),
        a_row(lambda samples: plain_step(sides.a, samples)),
        parity=difference(torch.cat(sides.ours.predict(many)), plain_step(sides.a, many)),
        unit="MB",
    )


ROWS = {"G0": g0, "G1": g1, "G2": g2, "G3": g3, "G6": g6, "G8": g8, "G10": g10, "G11": g11, "G4": g4, "G5": g5}
SECONDS = {
    "G0": 5.0,
    "G1": 100.0,
    "G2": 40.0,
    "G3": 80.0,
    "G6": 35.0,
    "G8": 40.0,
    "G10": 35.0,
    "G11": 25.0,
    "G4": 240.0,
    "G5": 150.0,
}
"""Estimates with the building of the models. A row that no longer fits is left out."""
