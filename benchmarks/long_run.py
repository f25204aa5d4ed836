"""Hours of mixed callers at a low rate, without kills: do the server's memory and its descriptors stay as they are?

    python -m benchmarks.long_run [--minutes 120] [--rate 1] [--samples FILE]
    python -m benchmarks.long_run --verdict FILE

A new installation on loopback with the built-in engine. Each call of `CALLERS` is made at a fixed interval, whether or
not the previous one has ended, so the load does not depend on the speed of the machine; all of them together take about
a fifth of a core. Each SAMPLE_SECONDS, the memory, the open descriptors and the threads of the server's processes are
appended to FILE as a line of JSON. The verdict, which can be had of an unfinished file as well: the median memory of
the last half hour is at most 2 % above that of the half hour before it, the first half hour is left out, and the median
number of descriptors is the same. Memory is RSS: PSS, where pages that processes share are divided among them, falls
and rises with other processes that load the same libraries, so it is only listed.
"""

# ruff: noqa: E402 - what the tests share is imported after django.setup

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import django
import requests
from skimage import data
from websockets.sync.client import connect

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # not of the server, which is a process of its own
django.setup()

from benchmarks.processes import processor_seconds, tree_of
from benchmarks.service.sites import encoded
from tests.conftest import png
from tests.support.drafts import sha256, with_photo
from tests.support.installation import Installation
from tests.support.service_clients import CALLS, Caller, base64_of, white_mask

SAMPLE_SECONDS = 5.0
WARM_UP_MINUTES, HALF_HOUR = 30.0, 30.0
MOST_GROWTH = 1.02
PAGES = ("/", "/history/", "/account/", "/storage/", "/batches/", "/models/", "/api/generations/?q=lawn", "/readyz")
SESSION = """
from django.test import Client
from accounts.models import User
client = Client()
client.force_login(User.objects.get(email="alice@example.com"))
print(client.cookies["sessionid"].value)
"""


INTERVALS = {
    "service": 5.0,
    "page": 2.0,
    "websocket": 10.0,
    "click": 15.0,
    "draft": 10.0,
    "upload": 90.0,
    "deletion": 120.0,
}
"""Seconds between two calls of each kind, at rate 1. A user has at most 100 uploaded images, each for a day."""
CLICKED = encoded(cv2.resize(data.coffee(), (1280, 853)), ".jpg")


@dataclass
class Callers:
    """The clients of one server. answered: calls of each kind; problems: how often which other answer came."""

    site: Installation
    session: str
    answered: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_caller(self) -> Caller:
        with self.lock:
            self.calls += 1
            return Caller(self.site.url, self.site.key, self.calls)

    def service(self, turn: int) -> None:
        """The native API and the compatible ones by turns: send, wait or poll, fetch the result."""
        caller = self.next_caller()
        name, call = next(islice(CALLS.items(), turn % len(CALLS), None))
        assert caller.has_own_result(call(caller)), name

    def page(self, turn: int) -> None:
        path = PAGES[turn % len(PAGES)]
        answer = requests.get(self.site.url + path, cookies={"sessionid": self.session}, timeout=60)
        assert answer.status_code == 200, (path, answer.status_code)

    def websocket(self, turn: int) -> None:
        """Hear the events of an own generation until its end."""
        caller = self.next_caller()
        body = {"input_image": base64_of(caller.photo), "mask": base64_of(png(255 - white_mask())), "prompt": "a lawn"}
        with connect(self.next_caller().send("POST", "/api/tickets/").json()["url"]) as socket:
            accepted = caller.send("POST", "/api/img2img", json=body, headers={"Prefer": "respond-async"}).json()
            while True:
                event = json.loads(socket.recv(timeout=60))
                if event["id"] == accepted["id"] and event["type"] in ("succeeded", "failed", "cancelled"):
                    assert event["type"] == "succeeded", event
                    return

    def click(self, turn: int) -> None:
        """Select what is around a point of a photo of 1280 x 853 pixels."""
        fields = {"store": "false", "points": json.dumps([[400 + turn % 200, 400]]), "segmenter": "grabcut"}
        self.next_caller().send("POST", "/api/masks/", data=fields, files={"image": ("a.jpg", CLICKED, "image/jpeg")})

    def upload(self, turn: int) -> None:
        """Upload a mask for later requests."""
        self.next_caller().send("POST", "/api/upload-mask", files={"file": ("m.png", png(white_mask()), "image/png")})

    def draft(self, turn: int) -> None:
        """Put another photo into the editor's document."""
        caller = self.next_caller()
        photo = caller.photo
        caller.send("PUT", f"/api/draft/pictures/{sha256(photo)}/", data=photo, headers={"Content-Type": "image/png"})
        body = {
            "document": with_photo(photo),
            "revision": caller.send("GET", "/api/draft/").json()["revision"],
            "pictures": [sha256(photo)],
        }
        caller.send("PUT", "/api/draft/", json=body)

    def deletion(self, turn: int) -> None:
        """Delete the generations of the first page of the list that have ended."""
        caller = self.next_caller()
        for generation in caller.send("GET", "/api/generations/?status=succeeded").json()["results"]:
            caller.send("DELETE", f"/api/generations/{generation['id']}/")

    def are_called(self, name: str, seconds: float, stopped: threading.Event) -> None:
        """Make this call every so many seconds until `stopped`."""
        call: Callable[[int], None] = getattr(self, name)
        for turn in range(10**9):
            started = time.monotonic()
            try:
                call(turn)
                self.answered[name] += 1
            except Exception as error:
                self.problems[f"{name}: {error!r}"[:300]] += 1
            if stopped.wait(max(0.0, started + seconds - time.monotonic())):
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--rate", type=float, default=1, help="calls are as many times as frequent")
    parser.add_argument("--samples", type=Path, default=Path("long-run.jsonl"), help="appended to")
    parser.add_argument("--verdict", type=Path, metavar="FILE", help="only print the verdict of these samples")
    options = parser.parse_args()
    if options.verdict is None:
        run(options.minutes, options.rate, options.samples)
    print(verdict(read_samples(options.verdict or options.samples)))


def run(minutes: float, rate: float, samples: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Installation(Path(folder))
        site.migrate_with_key()
        session = site.manage("shell", "--verbosity", "0", "--command", SESSION).strip()
        with site.serving() as server:
            callers, stopped = Callers(site, session), threading.Event()
            threads = [
                threading.Thread(target=callers.are_called, args=(name, seconds / rate, stopped), daemon=True)
                for name, seconds in INTERVALS.items()
            ]
            for thread in threads:
                thread.start()
            started = time.monotonic()
            while (passed := time.monotonic() - started) < 60 * minutes:
                with samples.open("a") as file:
                    line = {"minute": round(passed / 60, 3), **measured(server.pid), "answered": callers.answered}
                    file.write(json.dumps({**line, "problems": callers.problems}) + "\n")
                stopped.wait(SAMPLE_SECONDS)
            stopped.set()
            for thread in threads:
                thread.join(120)


def measured(pid: int) -> dict[str, float]:
    """What the process and its descendants use: megabytes, descriptors, threads, and seconds of processor time."""
    found = {"pss": 0.0, "rss": 0.0, "descriptors": 0.0, "threads": 0.0, "processor": 0.0}
    for process in tree_of(pid):
        folder = Path(f"/proc/{process}")
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
            sizes = dict(line.split()[:2] for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
            found["pss"] += int(sizes["Pss:"]) * 1024 / 1e6
            found["rss"] += int(sizes["Rss:"]) * 1024 / 1e6
            found["descriptors"] += len(list((folder / "fd").iterdir()))
            found["threads"] += len(list((folder / "task").iterdir()))
            found["processor"] += processor_seconds(process)
    return {name: round(value, 2) for name, value in found.items()}


def read_samples(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def verdict(samples: list[dict[str, Any]]) -> str:
    """A table of the medians of each ten minutes, and whether the promises hold."""
    end = samples[-1]["minute"]
    lines = ["| minutes | PSS, MB | RSS, MB | descriptors | threads |", "|---|---|---|---|---|"]
    lines += [
        f"| {start} to {start + 10} | {medians(samples, start, start + 10)} |" for start in range(0, int(end) + 1, 10)
    ]
    calls, seconds = samples[-1]["answered"], samples[-1]["processor"] - samples[0]["processor"]
    lines.append(f"\n{end:.0f} minutes, {sum(calls.values())} calls answered {calls}, {seconds / end / 60:.2f} cores")
    lines.append(f"not answered as they should be: {samples[-1]['problems'] or 'none'}")
    last, before = between(samples, end - HALF_HOUR, end), between(samples, end - 2 * HALF_HOUR, end - HALF_HOUR)
    if end < WARM_UP_MINUTES + 2 * HALF_HOUR:
        return "\n".join([*lines, f"no verdict: it takes {WARM_UP_MINUTES + 2 * HALF_HOUR:.0f} minutes"])
    memory, descriptors = (
        [statistics.median(sample[name] for sample in half_hour) for half_hour in (before, last)]
        for name in ("rss", "descriptors")
    )
    growth = memory[1] / memory[0]
    lines.append(f"memory: {100 * (growth - 1):+.1f} %: {'holds' if growth <= MOST_GROWTH else 'DOES NOT HOLD'}")
    same = descriptors[0] == descriptors[1]
    lines.append(f"descriptors: {descriptors[0]:.0f}, {descriptors[1]:.0f}: {'hold' if same else 'DO NOT HOLD'}")
    return "\n".join(lines)


def between(samples: list[dict[str, Any]], start: float, end: float) -> list[dict[str, Any]]:
    return [sample for sample in samples if start <= sample["minute"] <= end]


def medians(samples: list[dict[str, Any]], start: float, end: float) -> str:
    within, names = between(samples, start, end), ("pss", "rss", "descriptors", "threads")
    return " | ".join(f"{statistics.median(sample[name] for sample in within):.0f}" for name in names)


if __name__ == "__main__":
    main()
