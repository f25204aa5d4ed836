"""The rows of a machine without a GPU. Peer A: diffusers in float32; peer B: in bfloat16 and channels last."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import plans
from benchmarks.diffusion.bench import Bench, ceilings
from benchmarks.diffusion.measuring import Row, busy_note, difference
from benchmarks.diffusion.models import (
    Heartbeat,
    batcher_with,
    begun,
    flop,
    job_flop,
    plain_job,
    request,
)
from benchmarks.diffusion.openvino_rows import draft, openvino_steps
from benchmarks.diffusion.serving import ignore
from benchmarks.turns import Figure
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep, Plan
from inpainting.engines.diffusion.declaration import window_rule
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.engines.diffusion.sampling.denoising import group_of
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.painting import paint

DEFAULT_STEPS = 30


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


ROWS = {"C0": c0, "C3": c3, "C3O": c3o, "C4": c4}
SECONDS = {"C0": 5.0, "C3": 90.0, "C3O": 330.0, "C4": 120.0}
"""About what each row takes; one that no longer fits is left out."""
