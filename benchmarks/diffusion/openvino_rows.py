"""OpenVINO on the CPU: a UNet step and the parts of a draft, compared with plain diffusers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderTiny

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.measuring import HALF_GATE, Row, busy_note, difference, short
from benchmarks.diffusion.models import begun, flop, request, twin
from benchmarks.turns import Figure
from inpainting.core.geometry import Size
from inpainting.engines.diffusion.backends.openvino import is_installed
from inpainting.engines.diffusion.backends.torch import TORCH
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.serving.model_cache import ModelCache

GATE = 2 * HALF_GATE
"""OpenVINO keeps more in bfloat16 than torch does: about twice torch's own distance to float32."""
DRAFT_STEPS, PLAIN_STEPS = 4, 20
MEMORY_BYTES, CACHE_BYTES = 10**15, 10**15


def compiled(bench: Bench, side: int) -> Any:
    """The engine's model as the engine itself would have it converted and compiled, from files, in another process."""
    from inpainting.engines.diffusion.backends.openvino.selector import OpenVinoSelector

    model = bench.sd.ours
    folder = bench.scratch / "models" / model.spec.slug
    twin(bench.sd.a, model.unet.dtype).save_pretrained(folder, safe_serialization=True)
    model.spec = replace(model.spec, path=folder)
    selector = OpenVinoSelector(ModelCache(model.hardware, MEMORY_BYTES), folder.parent, CACHE_BYTES)
    select = partial(selector.select, model, Size(side, side), (), 1)
    select()
    selector.wait()
    found = select()
    if found is TORCH:
        raise RuntimeError(selector.rejection(model, Size(side, side), ()) or "this processor or memory is none for it")
    return found


def predicted(model: Any, samples: list[DenoisingState], backend: Any) -> torch.Tensor:
    return torch.cat(model.predict(samples, backend))


def openvino_steps(bench: Bench, plain: Callable[[Bench, int, Any], dict[str, Any]]) -> Iterator[Row]:
    """plain: the other sides' calls for a number of rows and a request (`cpu_rows.unet_answers`)."""
    if not is_installed():
        return
    side, model = bench.side(512), bench.sd.ours
    found = compiled(bench, side)
    for rows in (1, 2):
        wanted = request(side, steps=4, guidance_scale=7.5 if rows == 2 else 1.0)
        samples = [begun(model, wanted)]
        sides = plain(bench, rows, wanted)
        answers: dict[str, torch.Tensor] = {}

        def keep(name: str, call: Callable[[], torch.Tensor], answers: dict[str, torch.Tensor] = answers) -> None:
            answers[name] = call()

        ours = partial(predicted, model, samples, found)
        calls = {"openvino": ours, "ours": sides["ours"], "a": sides["a"], "b": sides["b"]}
        ours()  # its first answer is compared with torch's, which takes torch's time too
        if found.notes:
            raise RuntimeError(" ".join(found.notes))
        figures = bench.contest(
            {name: partial(keep, name, call) for name, call in calls.items()}, budget_seconds=120, warm=bench.warm
        )
        bench.openvino_steps[rows] = figures
        by_torch = figures["ours"].median / figures["openvino"].median
        yield Row(
            "C3",
            f"SD 1.5 step by OpenVINO, {rows} row{'s' * (rows > 1)}, {side}x{side}",
            figures["openvino"],
            figures["a"],
            figures["b"],
            floor=bench.floor(rows * flop(model, "unet", Size(side, side))),
            parity=difference(answers["openvino"], answers["a"]),
            gate=GATE,
            note=f"ours by torch in the same turns {short(figures['ours'].median)} s (x {by_torch:.2f}); "
            + busy_note(figures["openvino"], figures["a"], figures["b"]),
        )


def draft(bench: Bench) -> Iterator[Row]:
    """4 unguided steps and a small decoder, compared with 20 guided steps and the full float32 VAE."""
    if not bench.openvino_steps:
        return
    side = bench.side(512)
    torch.manual_seed(0)
    small = AutoencoderTiny().eval().requires_grad_(False).to(bench.hardware.dtype)
    vae, dtype = bench.sd.a.vae, bench.hardware.dtype
    pixels, latents = torch.rand(1, 3, side, side) * 2 - 1, torch.randn(1, 4, side // 8, side // 8)
    with torch.inference_mode():
        ends = bench.contest(
            {
                "small": lambda: (small.encode(pixels.to(dtype)), small.decode(latents.to(dtype))),
                "whole": lambda: (vae.encode(pixels), vae.decode(latents)),
            },
            budget_seconds=60,
            warm=bench.warm,
        )
    one, two = bench.openvino_steps[1]["openvino"], bench.openvino_steps[2]["a"]
    ours = composed(ends["small"], DRAFT_STEPS, one)
    plain = composed(ends["whole"], PLAIN_STEPS, two)
    yield Row(
        "C4",
        f"SD 1.5 draft {side}x{side}: {DRAFT_STEPS} unguided steps by OpenVINO and TAESD; A: {PLAIN_STEPS} guided "
        "steps and the whole VAE",
        ours,
        plain,
        is_ceiling=True,
        note="composed of parts measured in this run, text encoder and codecs left out; two different images, so no "
        f"parity; TAESD both ways {short(ends['small'].median)} s, VAE both ways {short(ends['whole'].median)} s; "
        + busy_note(ours, plain),
    )


def composed(ends: Figure, steps: int, step: Figure) -> Figure:
    return Figure((ends.median + steps * step.median,), busy=(ends.busy_median + steps * step.busy_median,))
