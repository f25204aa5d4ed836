"""Accepted requests a second through `serve`, with callers that keep their connections, and the floor of the disk.

    python -m benchmarks.accepting [--requests 300] [--callers 4]

Three servers one after the other, each with a new data folder: one that paints nothing; one beside a worker in a
process of its own; the usual one, whose workers are its threads. Processor time: of the server without that worker.
Then one that paints nothing, with 10 and with 10,000 waiting at the start; the ratios are of the second to the first.
Floor: two synced files and one committed row of SQLite, as often as one thread can, without a server.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.service.measuring import timed
from benchmarks.service.sites import ROOT, Site, encoded, multipart, ours, scene

WAITING = (10, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--callers", type=int, default=4)
    options = parser.parse_args()
    print("| | a second | p50 | p99 | processor time each | cores used | load |\n|---|---|---|---|---|---|---|")
    for name, queues in (
        ("no painting", ("--queues", "hooks")),
        ("painting in another process", ("--queues", "hooks")),
        ("painting on threads of the server", ()),
    ):
        with ExitStack() as running_here:
            folder = running_here.enter_context(tempfile.TemporaryDirectory())
            site = running_here.enter_context(ours(Path(folder), *queues))
            if "another" in name:
                running_here.enter_context(worker(folder))
            paints = "no" not in name
            print(f"| {name} | {row(*accept(site, options.requests, options.callers, paints=paints))} |", flush=True)
    with_many_waiting(options.requests, options.callers)
    with tempfile.TemporaryDirectory() as folder:
        print(f"| floor: two synced files and a commit | {row(*floor(Path(folder), 100))} |")


def with_many_waiting(number: int, callers: int) -> None:
    medians, busy_each = [], []
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder), "--queues", "hooks") as site:
        for count in WAITING:
            accept(site, 1, 1, paints=False)
            let_wait(Path(folder), count)
            each, passed, busy = accept(site, number, callers, paints=False)
            print(f"| {count:,} waiting at the start | {row(each, passed, busy)} |", flush=True)
            medians.append(each[number // 2])
            busy_each.append(busy)
    ratios = (f"{few_and_many[1] / few_and_many[0]:.2f}" for few_and_many in (medians, busy_each))
    print("| ratio: p50; processor time | " + "; ".join(ratios) + " | | | | | |", flush=True)


def let_wait(folder: Path, count: int) -> None:
    """Copy a generation that waits until so many wait."""
    with closing(sqlite3.connect(folder / "dreamlayer.sqlite3", timeout=60)) as database, database:
        names = [name for _, name, *_ in database.execute("PRAGMA table_info(inpainting_generation)")]
        new = {"id": "lower(hex(randomblob(16)))", "number": "NULL"}
        values = ", ".join(new.get(name, f'"{name}"') for name in names)
        (waiting,) = database.execute("SELECT count(*) FROM inpainting_generation WHERE status = 'queued'").fetchone()
        one = f"INSERT INTO inpainting_generation SELECT {values} FROM inpainting_generation LIMIT 1"  # noqa: S608
        for _ in range(count - waiting):  # the names are those of the schema
            database.execute(one)


def accept(site: Site, number: int, callers: int, *, paints: bool) -> tuple[list[float], float, float]:
    """The seconds of each request, sorted; of all; and of the server's processors."""
    photo, mask = scene(64)
    parts = multipart(encoded(photo, ".png"), encoded(255 - mask, ".png"), "respond-async", "png")
    headers: dict[str, str] = {"X-API-Key": site.key, **parts["headers"]}  # type: ignore[dict-item]
    kept = threading.local()

    def send() -> None:
        if not hasattr(kept, "connection"):
            kept.connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        kept.connection.request("POST", "/api/img2img", body=parts["body"], headers=headers)
        answer = kept.connection.getresponse()
        body = answer.read()
        assert answer.status == 202, body

    for _ in range(10):
        send()
    deadline = time.monotonic() + 60
    while paints and waiting(site):
        assert time.monotonic() < deadline, "nothing is painted"
        time.sleep(0.5)
    before, started = site.processor_seconds(), time.perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        each = sorted(threads.map(lambda _: timed(send), range(number)))
    return each, time.perf_counter() - started, site.processor_seconds() - before


def row(each: list[float], passed: float, busy: float) -> str:
    number = len(each)
    p50, p99 = (each[int(share * number)] * 1e3 for share in (0.5, 0.99))
    rate, load = number / passed, os.getloadavg()[0]
    return f"{rate:.0f} | {p50:.0f} ms | {p99:.0f} ms | {busy / number * 1e3:.1f} ms | {busy / passed:.2f} | {load:.1f}"


def floor(folder: Path, number: int) -> tuple[list[float], float, float]:
    database = sqlite3.connect(folder / "floor.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE accepted (name TEXT)")

    def store(index: int) -> None:
        for name in ("image", "mask"):
            path = folder / f"{name}-{index}"
            path.write_bytes(b"x" * 8000)
            for synced in (path, folder):
                descriptor = os.open(synced, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
        database.execute("INSERT INTO accepted VALUES (?)", [str(index)])

    started, busy = time.perf_counter(), time.process_time()
    each = [timed(lambda index=index: store(index)) for index in range(number)]  # type: ignore[misc]
    passed = time.perf_counter() - started
    database.close()
    return sorted(each), passed, time.process_time() - busy


def waiting(site: Site) -> int:
    count: dict[str, int] = json.loads(site.ask("GET", "/api/usage/")[1])["generations"]
    return count["queued"] + count["running"]


WORKER = "import django; django.setup(); from inpainting.worker.poller import poll_forever; poll_forever(is_woken=bool)"


@contextmanager
def worker(folder: str) -> Iterator[None]:
    """A worker in a process of its own, on the same data folder, which polls the database."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, "DREAMLAYER_DATA_DIR": folder, "DREAMLAYER_QUEUES": "cpu",
             "DJANGO_SETTINGS_MODULE": "dreamlayer_site.settings"},
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
