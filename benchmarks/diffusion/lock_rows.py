"""The interpreter lock: a step of a small network, alone, beside other work of the process, and beside it elsewhere.

    python -m benchmarks.diffusion.lock_rows WORK      does that work until it is killed, as the row lets it elsewhere

A step sends hundreds of operations to the device, each from Python. Beside a busy thread of the same process it waits
for the interpreter lock as well as for a processor; beside a busy process it waits for a processor alone.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import numpy as np
import torch

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.measuring import Figure, Row
from benchmarks.diffusion.models import begun, loaded, photo, random_pipeline, request, spec_of
from benchmarks.diffusion.serving import ignore
from benchmarks.plans import planned
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import WindowRule
from inpainting.core.request import InpaintRequest
from inpainting.engines.painting import paint
from inpainting.engines.quick_fill.engine import QuickFill
from inpainting.networks.device.hardware import Hardware

STEPS_AT_A_TIME = 10
SHORTER_SECONDS = 0.0005
"""A switch interval for comparison; Python's own is 0.005."""


def quick_fill() -> None:
    side = 512
    mask = np.zeros((side, side), np.uint8)
    mask[200:330, 150:300] = 255
    wanted = InpaintRequest(photo(side, side), mask)
    (painting,) = paint(planned(wanted, QuickFill.declaration, WindowRule(0.0)), QuickFill(), ignore)
    encode_png(painting.image)


def count() -> None:
    """Python that never gives the lock away by itself, such as the rendering of a page."""
    for _ in range(20_000):
        pass


WORK: dict[str, Callable[[], None]] = {"quick-fill": quick_fill, "pure-python": count}


def c7(bench: Bench) -> Iterator[Row]:
    """Ours: beside a thread. A: beside a process that does the same. B: alone."""
    hardware = Hardware(torch.device("cpu"), torch.float32)
    model = loaded(random_pipeline("sd", bench.scratch, hardware, tiny=True), hardware, spec_of("sd", 64))
    samples = [begun(model, request(64, steps=4))]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the load then has the other processor of two

    def steps() -> list[float]:
        seconds = []
        for _ in range(STEPS_AT_A_TIME):
            started = time.perf_counter()
            model.predict(samples)
            seconds.append(time.perf_counter() - started)
        return seconds

    try:
        steps()
        for name in WORK:
            for interval in (sys.getswitchinterval(), SHORTER_SECONDS):
                yield row(bench, name, interval, steps)
    finally:
        torch.set_num_threads(threads)


def row(bench: Bench, name: str, interval: float, steps: Callable[[], list[float]]) -> Row:
    found: dict[str, list[float]] = {"ours": [], "a": [], "b": []}
    usual = sys.getswitchinterval()
    for _ in range(bench.repeats):
        found["b"] += steps()
        with on_a_process(name):
            found["a"] += steps()
        sys.setswitchinterval(interval)
        try:
            with on_a_thread(WORK[name]):
                found["ours"] += steps()
        finally:
            sys.setswitchinterval(usual)
    worst = ", ".join(f"{who} {1000 * max(seconds):.0f}" for who, seconds in found.items())
    late = ", ".join(f"{who} {1000 * np.percentile(seconds, 95):.0f}" for who, seconds in found.items())
    least = {who: Figure((statistics.median(seconds),)) for who, seconds in found.items()}
    return Row(
        "C7",
        f"a step of a small network beside a thread of {name}, switch interval {1000 * interval:g} ms",
        least["ours"],
        least["a"],
        least["b"],
        note=f"A: beside a process of {name}; B: alone; 95 %: {late} ms; worst: {worst} ms; a time without an image "
        "has no parity",
    )


@contextmanager
def on_a_process(name: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.diffusion.lock_rows", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has imported and done its work once
        try:
            yield
        finally:
            process.kill()


@contextmanager
def on_a_thread(work: Callable[[], None]) -> Iterator[None]:
    over = Event()

    def repeat() -> None:
        while not over.is_set():
            work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(repeat)
        try:
            yield
        finally:
            over.set()
    running.result()


ROWS = {"C7": c7}
SECONDS = {"C7": 150.0}

if __name__ == "__main__":
    repeated = WORK[sys.argv[1]]
    repeated()
    print("ready", flush=True)
    while True:
        repeated()
