"""The rows of a machine without a GPU. Peer A: diffusers in float32; peer B: in bfloat16 and channels last."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import plans
from benchmarks.diffusion.bench import Bench, ceilings
from benchmarks.diffusion.measuring import FULL_GATE, Figure, Row, Sample, busy_note, difference, once, timed
from benchmarks.diffusion.models import (
    Heartbeat,
    batcher_with,
    begun,
    flop,
    job_flop,
    loaded,
    photo,
    plain_job,
    plain_jobs,
    random_pipeline,
    request,
    request_for,
    spec_of,
)
from benchmarks.diffusion.openvino_rows import draft, openvino_steps
from benchmarks.diffusion.serving import Arrival, Served, ignore, in_batches, one_at_a_time, step_by_step
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep, Plan
from inpainting.engines.diffusion.declaration import window_rule
from inpainting.engines.diffusion.denoising import DenoisingState, group_of
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.painting import paint
from inpainting.networks.device.hardware import Hardware

DEFAULT_STEPS = 30
IN_FLOAT32 = Hardware(torch.device("cpu"), torch.float32)


def c0(bench: Bench) -> Iterator[Row]:
    yield ceilings(bench, side=512 if bench.small else 3072, copied_bytes=256 * 10**6, name="C0")


# One step


def unet_answers(bench: Bench, rows: int, wanted: InpaintRequest) -> dict[str, Any]:
    """The three sides' calls of the UNet for the same inputs: one image with guidance (2 rows) or without (1)."""
    sides = bench.sd
    samples = [begun(sides.ours, wanted)]
    inputs = group_of(samples).model_input
    assert len(inputs) == rows

    @torch.inference_mode()
    def plain(pipeline: Any) -> torch.Tensor:
        dtype = pipeline.unet.dtype
        text = samples[0].text.embeds.to(dtype)
        answer = pipeline.unet(
            inputs.to(dtype), samples[0].step_timesteps, encoder_hidden_states=text, return_dict=False
        )[0]
        return torch.as_tensor(answer.float())

    return {
        "ours": lambda: torch.cat(sides.ours.predict(samples)),
        "a": lambda: plain(sides.a),
        "b": lambda: plain(sides.b),
    }


def step_figures(bench: Bench, rows: int) -> dict[str, Figure]:
    """Of one step at 512; measured once in a run."""
    if rows not in bench.steps:
        wanted = request(bench.side(512), steps=4, guidance_scale=7.5 if rows == 2 else 1.0)
        answers: dict[str, torch.Tensor] = {}
        calls = {name: partial(keep, answers, name, call) for name, call in unet_answers(bench, rows, wanted).items()}
        bench.steps[rows] = bench.contest(calls, budget_seconds=60, warm=bench.warm)
        bench.step_parity[rows] = difference(answers["ours"], answers["a"])
    return bench.steps[rows]


def keep(answers: dict[str, Any], name: str, call: Callable[[], Any]) -> None:
    answers[name] = call()


def c3(bench: Bench) -> Iterator[Row]:
    side = bench.side(512)
    for rows in (1, 2):
        found = step_figures(bench, rows)
        yield Row(
            "C3",
            f"SD 1.5 step, {rows} row{'s' * (rows > 1)}, {side}x{side}",
            found["ours"],
            found["a"],
            found["b"],
            floor=bench.floor(rows * flop(bench.sd.ours, "unet", Size(side, side))),
            parity=bench.step_parity[rows],
            note=busy_note(found["ours"], found["a"], found["b"]),
        )


def c3o(bench: Bench) -> Iterator[Row]:
    """OpenVINO's rows alone: the step, then the parts of a draft."""
    yield from openvino_steps(bench, unet_answers)
    yield from draft(bench)


# A whole job


class Watched(Diffusion):
    """The engine over a batcher that is already there. Keeps what it painted last."""

    def __init__(self, batcher: Batcher, spec: ModelSpec) -> None:
        super().__init__()
        self._batcher = batcher
        self.spec = spec
        self.images: list[NDArray[np.uint8]] = []

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        self.images = super().inpaint(plan, on_step)
        return self.images


def planned(wanted: InpaintRequest, engine: Watched) -> Plan:
    """The plan of a request with its settings as they are."""
    return plans.planned(wanted, engine.declaration, window_rule(wanted.settings, engine.spec), engine.spec)


def c4(bench: Bench) -> Iterator[Row]:
    sides, side, steps = bench.sd, bench.side(512), 4
    wanted = request(side, steps=steps, guidance_scale=1.0)
    engine = Watched(batcher_with(sides.ours), sides.ours.spec)
    watches = {"ours": Heartbeat(sides.ours.vae, bench.hardware), "a": Heartbeat(sides.a.vae, bench.hardware)}

    def ours() -> bytes:
        (painting,) = paint(planned(wanted, engine), engine, ignore)
        return encode_png(painting.image)

    def plain() -> bytes:
        file = io.BytesIO()
        Image.fromarray(plain_job(sides.a, wanted)).save(file, "PNG")
        return file.getvalue()

    found = bench.contest({"ours": ours, "a": plain}, budget_seconds=100, warm=bench.warm)
    parity = difference(watches["ours"].latents, watches["a"].latents)
    vae = {name: watch.seconds() for name, watch in watches.items()}
    yield Row(
        "C4",
        f"SD 1.5 job {side}x{side}, {steps} steps without guidance, image and mask to PNG",
        found["ours"],
        found["a"],
        floor=bench.floor(job_flop(sides.ours, wanted.image.size, steps=steps, rows=1)),
        parity=parity,
        note=f"{busy_note(found['ours'], found['a'])}; encode and decode: ours {vae['ours'].median:.2f} s, "
        f"A {vae['a'].median:.2f} s",
    )
    step = step_figures(bench, 2)
    whole = {
        name: Figure(
            (measured.median + DEFAULT_STEPS * step[name].median,),
            busy=(measured.busy_median + DEFAULT_STEPS * step[name].busy_median,),
        )
        for name, measured in vae.items()
    }
    yield Row(
        "C4",
        f"SD 1.5 job {side}x{side} at default settings, {DEFAULT_STEPS} steps with guidance",
        whole["ours"],
        whole["a"],
        floor=bench.floor(job_flop(sides.ours, wanted.image.size, steps=DEFAULT_STEPS, rows=2)),
        parity=parity,
        note="composed: encode and decode as measured in the job above + 30 times the step of C3 with 2 rows; "
        + busy_note(whole["ours"], whole["a"]),
    )
    yield from window_of_a_large_photo(bench, engine)


def window_of_a_large_photo(bench: Bench, engine: Watched) -> Iterator[Row]:
    """12 megapixels, 3 % masked. The whole of it fits no such machine, so its time is bounded from below."""
    height, width, hole = (bench.side(side) for side in (3000, 4000, 600))
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 : height // 2 + hole, width // 2 : width // 2 + hole] = 255
    wanted = request_for(photo(height, width), mask, steps=1, guidance_scale=1.0)
    work: list[Size] = []

    def ours() -> None:
        (painting,) = paint(planned(wanted, engine), engine, ignore)
        work.append(painting.work)
        encode_png(painting.image)

    one_step = timed(bench.hardware, ours)
    at_window = step_once(bench, work[0].longer, "ours")
    total = Figure(
        (one_step.wall + (2 * DEFAULT_STEPS - 1) * at_window.wall,),
        busy=(one_step.busy + (2 * DEFAULT_STEPS - 1) * at_window.busy,),
    )
    measured = {"ours": {work[0].longer: at_window}, "a": {bench.side(512): step_once(bench, bench.side(512), "a")}}
    for name, side in (("a", 768), ("ours", 1024), ("a", 1024)):
        # The whole of it takes as much more than this as its area is larger, at the very least.
        before = max(measured[name].items())
        if bench.small or bench.left_seconds > 2.5 * before[1].wall * (side / before[0]) ** 2:
            measured[name][bench.side(side)] = step_once(bench, bench.side(side), name)
    bounds = {name: bound(samples, height * width) for name, samples in measured.items()}
    # The window that the engine saw is what diffusers paints from it: the speed is not bought with another image.
    yield Row(
        "C4",
        f"{height * width / 1e6:.1f} megapixels, {100 * hole * hole / height / width:.1f} % masked, 30 guided steps",
        total,
        bounds["a"],
        bounds["ours"],
        parity=window_parity(bench, wanted, engine.images[0]),
        note=f"{busy_note(total, bounds['a'], bounds['ours'])}; ours: the window at {work[0]}, measured with 1 step "
        f"({one_step.wall:.1f} s with cutting, VAE, compositing and PNG) + {2 * DEFAULT_STEPS - 1} rows of "
        f"{at_window.wall:.2f} s; peers, the whole image: LOWER BOUNDS, by the area from the largest step that ran "
        f"(A, plain float32, 1 row: {grown(measured['a'])}; B, our own engine on the whole image: "
        f"{grown(measured['ours'])})",
    )


def step_once(bench: Bench, side: int, name: str) -> Sample:
    """One row through a side's UNet, a single time."""
    return timed(bench.hardware, unet_answers(bench, 1, request(side, steps=1, guidance_scale=1.0))[name])


def bound(samples: dict[int, Sample], area: int) -> Figure:
    """What 30 guided steps over so many pixels take at least: with the area; attention alone grows faster."""
    side, largest = max(samples.items())
    times = 2 * DEFAULT_STEPS * area / side**2
    return Figure((times * largest.wall,), busy=(times * largest.busy,))


def grown(samples: dict[int, Sample]) -> str:
    return ", ".join(f"{side} {sample.wall:.1f} s" for side, sample in samples.items())


def window_parity(bench: Bench, wanted: InpaintRequest, painted: NDArray[np.uint8]) -> float:
    """The engine's window compared with diffusers' result for the same window."""
    seen: list[InpaintRequest] = []

    class Seeing(Watched):
        def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
            seen.append(plan.request)
            return [painted]

    engine = Seeing(batcher_with(bench.sd.ours), bench.sd.ours.spec)
    paint(planned(wanted, engine), engine, ignore)
    return difference(painted.astype(float), plain_job(bench.sd.b, seen[0]).astype(float))


# Sharing the calls


JOIN_EVERY, CANCELLED_AT = 3, 9
"""Steps."""


def c5(bench: Bench) -> Iterator[Row]:
    """Drives the engine's own loop by hand, so that jobs always join at the same step."""
    model = loaded(random_pipeline("sd", bench.scratch, IN_FLOAT32, tiny=True), IN_FLOAT32, spec_of("sd", 64))
    names = (
        *("DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "PNDMScheduler"),
        *("DPMSolverMultistepScheduler", "UniPCMultistepScheduler"),
    )
    requests = [
        request(64, seed=seed, scheduler=name, steps=8 + seed, guidance_scale=1.0 if seed == 4 else 5.0 + seed)
        for seed, name in enumerate(names)
    ]
    cancelled, calls = 2, 0
    denoisings: dict[int, DenoisingState] = {}
    batcher = batcher_with(model, max_rows=32)
    start = model.start

    def starting(wanted: InpaintRequest, index: int, text: Any, codec: Any) -> Any:
        denoising, notes = start(wanted, index, text, codec)
        denoisings[wanted.settings.seed] = denoising
        return denoising, notes

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.start = starting
    hook = model.unet.register_forward_pre_hook(count)
    jobs = [Job(sent, model.spec) for sent in requests]
    started = time.perf_counter()
    turn = 0
    while turn <= JOIN_EVERY * len(jobs) or not batcher.is_idle:
        if turn % JOIN_EVERY == 0 and turn // JOIN_EVERY < len(jobs):
            batcher.workload.add(jobs[turn // JOIN_EVERY])
        if turn == CANCELLED_AT:
            jobs[cancelled].is_done = True
        batcher.run_once()
        turn += 1
    ours = time.perf_counter() - started
    hook.remove()
    model.start = start
    shared, alone, parity, theirs = calls, 0, 0.0, 0.0
    for seed, sent in enumerate(requests):
        if seed == cancelled:
            continue
        started = time.perf_counter()
        expected = plain_jobs(model.pipeline, [sent], output_type="latent", draws_itself=True)
        theirs += time.perf_counter() - started
        alone += len(denoisings[seed].timesteps)
        parity = max(parity, difference(denoisings[seed].latents, expected))
    yield Row(
        "C5",
        "6 requests of 6 schedulers join 3 steps apart, 1 is cancelled, 1 has no guidance (tiny model)",
        once(ours),
        once(theirs),
        parity=parity,
        gate=FULL_GATE,
        note=f"{shared} calls of the UNet together, {alone} alone; peer A: each alone through the diffusers pipeline, "
        "float32; the time is not the point",
        more={"calls": shared, "calls_alone": alone},
    )


# Requests that arrive over time


SLEEP_CALL, SLEEP_ROW, SLEEP_STEPS, LARGE = 0.020, 0.00125, 8, 2.25
"""An assumed device: a call takes 20 ms and 1.25 ms more for each row at the small size, and at the large one 2.25
times that."""


def sleep_seconds(rows: int, size: Size) -> float:
    return (SLEEP_CALL + SLEEP_ROW * rows) * (LARGE if size.width > 64 else 1.0)


def c6(bench: Bench) -> Iterator[Row]:
    model = sleeping_model(bench)
    capacity = 1 / statistics.mean([SLEEP_STEPS * sleep_seconds(2, Size(side, side)) for side in (64, 64, 96)])
    for load in (0.5, 0.9, 1.5):
        arrivals = poisson(load * capacity, people=8 if bench.small else 30)

        def jobs(requests: list[InpaintRequest]) -> list[Any]:
            for _ in range(SLEEP_STEPS):
                time.sleep(sleep_seconds(2 * len(requests), requests[0].image.size))
            return [SLEEP_STEPS for _ in requests]

        served: dict[str, Served] = {
            "ours": step_by_step(arrivals, batcher_with(model), model.spec),
            "a": one_at_a_time(arrivals, lambda sent: jobs([sent])[0]),
            "b": in_batches(arrivals, jobs, most=8, window=0.05),
        }
        waits = {name: Figure((measured.wait(50),)) for name, measured in served.items()}
        yield Row(
            "C6",
            f"simulated: {len(arrivals)} people, 3 users, 2 sizes, load {load}; median wait",
            waits["ours"],
            waits["a"],
            waits["b"],
            parity=0.0 if all(len(entry.images) == len(arrivals) for entry in served.values()) else None,
            note="A one at a time, B request batching (8, 50 ms); load 1 is what one at a time can do; the step "
            "sleeps. " + "; ".join(f"{name}: {measured.summary()}" for name, measured in served.items()),
            more={
                name: {
                    "p50": measured.wait(50),
                    "p95": measured.wait(95),
                    "rate": measured.images_a_second,
                    "jain": measured.fairness,
                }
                for name, measured in served.items()
            },
        )


def poisson(a_second: float, *, people: int) -> list[Arrival]:
    """The same people for every way of serving: half from the first user, a third and a sixth from the others."""
    drawn = np.random.default_rng(6)
    times = np.cumsum(drawn.exponential(1 / a_second, people))
    arrivals = []
    for seed, at in enumerate(times):
        side = (64, 64, 96)[int(drawn.integers(3))]
        wanted = request(side, seed=seed, steps=SLEEP_STEPS, scheduler="DDIMScheduler")
        user = int(drawn.choice(3, p=(1 / 2, 1 / 3, 1 / 6)))
        arrivals.append(Arrival(float(at), user, wanted, SLEEP_STEPS * sleep_seconds(2, wanted.image.size)))
    return arrivals


def sleeping_model(bench: Bench) -> Any:
    """A real model of the engine whose UNet and VAE only take their time."""
    model = loaded(random_pipeline("sd", bench.scratch, IN_FLOAT32, tiny=True), IN_FLOAT32, spec_of("sd", 64))

    def predict(samples: list[DenoisingState], backend: Any) -> list[torch.Tensor]:
        rows = sum(sample.rows for sample in samples)
        height, width = samples[0].latents.shape[-2:]
        time.sleep(sleep_seconds(rows, Size(8 * width, 8 * height)))
        return [torch.zeros(sample.rows, 4, height, width) for sample in samples]

    def decode(latents: torch.Tensor) -> list[NDArray[np.uint8]]:
        return [np.zeros((8 * latents.shape[-2], 8 * latents.shape[-1], 3), np.uint8) for _ in latents]

    def encode(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(1, 4, pixels.shape[-2] // 8, pixels.shape[-1] // 8)

    codec = SimpleNamespace(encode=encode, decode=decode, samples_latents=True)
    model.predict, model.codec = predict, lambda *_: codec
    return model


ROWS = {"C0": c0, "C5": c5, "C6": c6, "C3": c3, "C3O": c3o, "C4": c4}
SECONDS = {"C0": 5.0, "C3": 90.0, "C3O": 330.0, "C4": 200.0, "C5": 5.0, "C6": 60.0}
"""About what each row takes; one that no longer fits is left out."""
