"""Kills of a server at random moments over hours: is an accepted generation lost, painted twice, stuck or failed?

    python -m benchmarks.kills [--kills 300] [--least 10] [--most 60] [--seed 1]

A new installation on loopback with a Stable Diffusion of random weights and a few layers, on the processor. Four
programs submit without a pause, by turns a generation for that model and one for the built-in engine, and repeat what
was not answered with the same Idempotency-Key; they wait while WAITING generations have not ended. Each kill comes
after as many seconds as are drawn between --least and --most: seven of ten of the serving process, which its parent
starts again, the others of the parent, with or without the process. At the end, all that was accepted has to end within
END_SECONDS; then each request is repeated once more, which must return the id of the first answer.
"""

# ruff: noqa: E402 - what the tests share is imported after django.setup

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sqlite3
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # not of the server, which is a process of its own
django.setup()

from tests.conftest import png
from tests.support import tiny_models
from tests.support.installation import Installation
from tests.support.service_clients import Caller, base64_of, white_mask

PROGRAMS, WAITING = 4, 12
STEPS = 20
KINDS = ["child"] * 7 + ["parent"] + ["both"] * 2
END_SECONDS = 900


class Programs:
    """The clients of a server. accepted: the id that was answered to each request's number."""

    def __init__(self, site: Installation) -> None:
        self.site = site
        self.accepted: dict[int, str] = {}
        self.problems: Counter[str] = Counter()
        self.numbers = count()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(PROGRAMS)]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.site.folder / "dreamlayer.sqlite3", timeout=60)) as database:
            return database.execute(query).fetchall()

    def unfinished(self) -> int:
        return int(self.rows("SELECT count(*) FROM inpainting_generation WHERE finished_at IS NULL")[0][0])

    def submit(self, number: int) -> str:
        """The id of the accepted generation. Sends the same request again until it is answered."""
        caller = Caller(self.site.url, self.site.key, number)
        engine = {"model": "tiny", "steps": STEPS} if number % 2 else {"engine": "quick-fill"}
        body = {"input_image": base64_of(caller.photo), "mask": base64_of(png(255 - white_mask())), "prompt": "a lawn"}
        headers = {"Prefer": "respond-async"}
        return str(caller.send("POST", "/api/img2img", json={**body, **engine}, headers=headers).json()["id"])

    def run(self) -> None:
        while not self.ended.is_set():
            if self.unfinished() >= WAITING:
                time.sleep(0.2)
                continue
            number = next(self.numbers)
            try:
                self.accepted[number] = self.submit(number)
            except AssertionError as error:
                self.problems[str(error)[:200]] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--least", type=float, default=10, help="seconds between two kills")
    parser.add_argument("--most", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - the same kills every time
    with tempfile.TemporaryDirectory() as folder:
        site = Installation(Path(folder) / "data", DREAMLAYER_DIFFUSION_DEVICE="cpu")
        site.folder.mkdir()
        site.migrate_with_key()
        tiny_models.saved(Path(folder) / "tiny")
        site.manage("add_model", "tiny", "--family", "sd", "--from", str(Path(folder) / "tiny"))
        programs = Programs(site)
        with site.serving():
            killed = kill_at_times(programs, chance, options.kills, between=(options.least, options.most))
            report(programs, killed)


def kill_at_times(
    programs: Programs, chance: random.Random, kills: int, *, between: tuple[float, float]
) -> dict[str, list[float]]:
    """Kill the server so often; return how many seconds it then took until it was ready, by kind."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for thread in programs.threads:
        thread.start()
    for number in range(1, kills + 1):
        time.sleep(chance.uniform(*between))
        kind = chance.choice(KINDS)
        running = programs.rows("SELECT count(*) FROM inpainting_generation WHERE status = 'running'")[0][0]
        kill(programs.site, kind)
        started = time.monotonic()
        programs.site.wait_until(lambda: programs.site.get("/readyz")[0] == 200)
        seconds[kind].append(time.monotonic() - started)
        done = len(programs.accepted)
        print(f"kill {number} of {kills}, {kind}, while {running} ran; {done} accepted so far", flush=True)
    programs.ended.set()
    for thread in programs.threads:
        thread.join()
    return seconds


def kill(site: Installation, kind: str) -> None:
    """Kill the processes of this kind, and start the parent again where it was killed."""
    parent = site.process
    assert parent is not None
    children = site.children_of(parent.pid)
    if kind in ("parent", "both"):
        parent.kill()
        parent.wait()
    if kind in ("child", "both"):
        for child in children:
            with suppress(ProcessLookupError):  # it ends with its parent
                os.kill(child, signal.SIGKILL)
    if kind == "child":
        site.wait_until(lambda: site.children_of(parent.pid) != children)
    else:
        site.start()


def report(programs: Programs, seconds: dict[str, list[float]]) -> None:
    with suppress(AssertionError):
        programs.site.wait_until(lambda: programs.unfinished() == 0, seconds=END_SECONDS)
    repeated = {number: programs.submit(number) for number in programs.accepted}
    ids = {str(pk).replace("-", "") for (pk,) in programs.rows("SELECT id FROM inpainting_generation")}
    statuses = Counter(status for (status,) in programs.rows("SELECT status FROM inpainting_generation"))
    lost = {pk for pk in programs.accepted.values() if pk.replace("-", "") not in ids}
    twice = sum(repeated[number] != pk for number, pk in programs.accepted.items())
    images = programs.rows("SELECT generation_id, file, sha256 FROM inpainting_generatedimage")
    twice += len(images) - len({pk for pk, _, _ in images})
    folder = programs.site.folder / "pictures"
    broken = sum(
        not (folder / file).exists() or hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest
        for _, file, digest in images
    )
    errors = programs.rows("SELECT error_code, attempts, count(*) FROM inpainting_generation GROUP BY 1, 2")
    every = [value for values in seconds.values() for value in values]
    counts = {kind: len(values) for kind, values in seconds.items()}
    print(
        f"\n{len(every)} kills {counts}; ready again after {statistics.median(every):.1f} s in the median, "
        f"{max(every):.1f} s at most\n{len(programs.accepted)} acknowledged, {len(ids)} rows: {dict(statuses)}\n"
        f"lost: {len(lost)}; twice: {twice}; stuck: {programs.unfinished()}; failed: {statuses['failed']}; "
        f"results whose file is missing or differs: {broken}\n"
        f"calls refused: {dict(programs.problems) or 'none'}\nerror, attempts, generations: {errors}\n"
        f"integrity: {programs.rows('PRAGMA integrity_check')[0][0]}"
    )
    if statuses["failed"]:
        print(f"\nthe server's log:\n{programs.site.log}")


if __name__ == "__main__":
    main()
