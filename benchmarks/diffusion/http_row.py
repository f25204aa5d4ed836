"""The row of a GPU about whole requests: HTTP, queue, worker and database, beside other work of the same process."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.cpu_rows import Watched, planned
from benchmarks.diffusion.gpu_rows import saved_model
from benchmarks.diffusion.measuring import Row, difference
from benchmarks.diffusion.models import batcher_with, plain_job, request
from benchmarks.diffusion.serving import ignore
from benchmarks.turns import Figure
from inpainting.core.codecs import encode_png
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.painting import paint
from tests.support.installation import Installation

SLUG = "bench"
LOADED_BY = 2
"""Threads of the load: one opens pages, the others erase with quick-fill."""


def g17(bench: Bench) -> Iterator[Row]:
    """One person, waiting for each image; then the same beside pages and quick-fill in the same process."""
    folder, side = saved_model(bench), bench.side(512)
    steps = 2 if bench.small else 30
    wanted = request(side, seed=3, steps=steps)
    site = bench.scratch / "site"
    site.mkdir()
    device = bench.hardware.device.type
    installation = Installation(site, DREAMLAYER_DIFFUSION_DEVICE=device)
    key = installation.migrate_with_key()
    installation.manage("add_model", SLUG, "--family", "sd", "--from", str(folder), "--label", SLUG)
    person = Person(installation, key, wanted)
    with installation.serving():
        image = person.paint()
        alone = timed_calls(person.paint, bench.repeats)
        with load(person):
            loaded = timed_calls(person.paint, bench.repeats)
    engine = Watched(batcher_with(bench.sd.ours), bench.sd.ours.spec)
    (painting,) = paint(planned(wanted, engine), engine, ignore)
    expected = np.asarray(painting.image.pixels)
    plain = timed_calls(lambda: plain_job(bench.sd.a, wanted), bench.repeats)
    parity = difference(image.astype(float), expected.astype(float))
    what = f"SD 1.5 over HTTP, {side}x{side}, {steps} guided steps"
    yield Row(
        "G17",
        f"{what}, alone",
        alone,
        plain,
        parity=parity,
        note="A: diffusers' pipeline, eager, without HTTP; parity: our engine, without HTTP",
    )
    yield Row(
        "G17",
        f"{what}, beside pages and quick-fill",
        loaded,
        alone,
        parity=parity,
        note=f"A: the row before; load: {LOADED_BY} threads, one after another; p100 {max(loaded.values):.3g} s",
    )


class Person:
    """Sends requests with an API key and waits for the images."""

    def __init__(self, installation: Installation, key: str, wanted: InpaintRequest) -> None:
        self.installation = installation
        self.key = key
        settings = wanted.settings
        self.files = encode_png(wanted.image), encode_png(CanonicalImage(np.repeat(wanted.mask[:, :, None], 3, axis=2)))
        self.fields = {
            "model": SLUG, "engine": "diffusion", "prompt": settings.prompt, "mask_polarity": "white_repaints",
            "negative_prompt": settings.negative_prompt, "seed": settings.seed, "steps": settings.steps,
            "scheduler": settings.scheduler, "guidance_scale": settings.guidance_scale, "denoising_strength": 1,
            "width": wanted.image.size.width, "height": wanted.image.size.height,
        }  # fmt: skip

    def paint(self, **changes: Any) -> Any:
        """The image [height, width, 3]."""
        status, answer = self.installation.img2img(self.key, *self.files, **{**self.fields, **changes})
        if status != 200:
            raise RuntimeError(f"img2img answered {status}: {str(answer)[:300]}")
        links: Any = answer["images"]
        address = urlsplit(links[0])
        _, file = self.installation.get(f"{address.path}?{address.query}")
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))

    def erase(self) -> Any:
        return self.paint(engine="quick-fill", model="auto")

    def read_pages(self) -> None:
        for path in ("/api/models/", "/api/generations/", "/healthz"):
            self.installation.get(path, key=self.key)


@contextmanager
def load(person: Person) -> Iterator[None]:
    """Pages and quick-fill, each one after another, until the end of the block."""
    over = Event()

    def repeat(work: Callable[[], object]) -> None:
        while not over.is_set():
            work()

    with ThreadPoolExecutor(LOADED_BY) as pool:
        running = [pool.submit(repeat, work) for work in (person.read_pages, person.erase)]
        try:
            yield
        finally:
            over.set()
    for job in running:
        job.result()


def timed_calls(call: Callable[[], object], count: int) -> Figure:
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return Figure(tuple(seconds))


ROWS = {"G17": g17}
SECONDS = {"G17": 120.0}
