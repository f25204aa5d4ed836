"""Accepted requests a second through `serve`, with callers that keep their connections, and the floor of the disk.

    python -m benchmarks.accepting [--requests 300] [--callers 4]

Three servers one after the other, each with a new data folder: one that paints nothing; one beside a worker in a
process of its own; the usual one, whose workers are its threads. Processor time: of the server without that worker.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.service.measuring import timed
from benchmarks.service.sites import ROOT, Site, encoded, multipart, ours, scene


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
            print(f"| {name} | {accept(site, options.requests, options.callers, paints=paints)} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"| floor: two synced files and a commit | {floor(Path(folder), 100)} |")


def accept(site: Site, number: int, callers: int, *, paints: bool) -> str:
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
    passed, busy = time.perf_counter() - started, site.processor_seconds() - before
    return row(each, passed, busy)


def row(each: list[float], passed: float, busy: float) -> str:
    number = len(each)
    p50, p99 = (each[int(share * number)] * 1e3 for share in (0.5, 0.99))
    rate, load = number / passed, os.getloadavg()[0]
    return f"{rate:.0f} | {p50:.0f} ms | {p99:.0f} ms | {busy / number * 1e3:.1f} ms | {busy / passed:.2f} | {load:.1f}"


def floor(folder: Path, number: int) -> str:
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
    return row(sorted(each), passed, time.process_time() - busy)


def waiting(site: Site) -> int:
    count: dict[str, int] = json.loads(site.ask("GET", "/api/usage/")[1])["generations"]
    return count["queued"] + count["running"]


WORKER = "import django; django.setup(); from inpainting.generations.recovery import poll_forever; poll_forever()"


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
