"""The service around the engine: requests, queue, waiting callers; each row beside its baseline, in one run.

    python -m benchmarks.service [--rows C1 C8 C10] [--iopaint FOLDER] [--repeats 7] [--json FILE]

C1: a fill by HTTP. C8: accepting. C10: a page beside a hundred waiting callers. The codecs (C7) are measured by
benchmarks.codecs, the footprint (C11) by benchmarks.footprint. --iopaint names a virtual environment that holds
IOPaint 1.6.0, which is then served on loopback in the same run as C1's peer.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

ROOT = Path(__file__).resolve().parent.parent
ROWS = ("C1", "C8", "C10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=ROWS, choices=ROWS)
    parser.add_argument("--iopaint", type=Path, help="a virtual environment with IOPaint 1.6.0")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="append the rows to this file, one line each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder)) as site:
        if "C1" in options.rows:
            fill(site, options)
        if "C8" in options.rows:
            submissions(site, options)
        if "C10" in options.rows:
            pages_beside_waiting_callers(site, options)


def report(options: argparse.Namespace, row: str, name: str, seconds: list[float], peer: list[float] | None) -> None:
    """One line: median, least and spread in milliseconds, and how many times faster than the peer's median."""
    ours_ms, peer_ms = [1e3 * each for each in seconds], [1e3 * each for each in peer or []]
    median, spread = statistics.median(ours_ms), max(ours_ms) - min(ours_ms)
    peers = statistics.median(peer_ms) if peer_ms else None
    ratio = f"{peers / median:6.2f} x peer ({peers:.1f} ms)" if peers else ""
    print(f"{row:4} {name:42} {median:9.1f} ms  least {min(ours_ms):8.1f}  spread {spread:8.1f} {ratio}")
    if options.json:
        with options.json.open("a") as file:
            file.write(json.dumps({"row": row, "name": name, "ms": ours_ms, "peer_ms": peer_ms}) + "\n")


class Site:
    """A server on loopback and how to ask it."""

    def __init__(self, port: int, key: str = "") -> None:
        self.port = port
        self.key = key

    def ask(
        self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body=body, headers={"X-API-Key": self.key, **(headers or {})})
        answer = connection.getresponse()
        read = answer.status, answer.read()
        connection.close()
        return read

    def livez(self) -> None:
        assert self.ask("GET", "/livez")[0] == 200

    def fill(self, image: bytes, mask: bytes, *, prefer: str = "") -> bytes:
        """Our answer with its picture: the call, then the link."""
        status, body = self.ask("POST", "/api/img2img", **multipart(image, mask, prefer))  # type: ignore[arg-type]
        if prefer:
            assert status == 202, body
            return body
        assert status == 200, body
        return self.ask("GET", urlsplit(json.loads(body)["images"][0]).path)[1]


def multipart(image: bytes, mask: bytes, prefer: str) -> dict[str, object]:
    boundary = uuid4().hex
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    body = (
        f'{start}"prompt"\r\n\r\n\r\n{start}"image"; filename="i"\r\n\r\n'.encode()
        + image
        + f'\r\n{start}"mask"; filename="m.png"\r\nContent-Type: image/png\r\n\r\n'.encode()
        + mask
        + f"\r\n--{boundary}--\r\n".encode()
    )
    return {"body": body, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}", "Prefer": prefer}}


@contextmanager
def ours(folder: Path) -> Iterator[Site]:
    environment = {**os.environ, "DREAMLAYER_DATA_DIR": str(folder)}
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
    made = subprocess.run(
        [*manage, "create_api_key", "bench@example.com", "--create-user"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    site = Site(free_port(), made.stdout.strip())
    with running([*manage, "serve", "--port", str(site.port)], environment, site.port):
        yield site


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the server never listened"
                time.sleep(0.2)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scene(side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photo [side, side, 3] and scratches over it [side, side], white = repaint, about 3 %."""
    photo = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(3)
    photo = np.clip(photo.astype(np.int16) + rng.integers(-3, 4, photo.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((side, side), np.uint8)
    while mask.mean() < 255 * 0.03:
        ends = rng.integers(0, side, 4)
        cv2.line(mask, tuple(ends[:2].tolist()), tuple(ends[2:].tolist()), 255, 3)
    return photo, mask


def encoded(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    return cv2.imencode(suffix, pixels if pixels.ndim == 2 else pixels[:, :, ::-1])[1].tobytes()


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def fill(site: Site, options: argparse.Namespace) -> None:
    """C1: thin damage in, picture out, by HTTP; IOPaint's cv2 (Telea, radius 3) is sent the same picture and mask."""
    with iopaint(options.iopaint) as peer:
        for side in (512, 1024, 2048):
            photo, mask = scene(side)
            for suffix in (".png", ".jpg"):
                image, white, black = encoded(photo, suffix), encoded(mask, ".png"), encoded(255 - mask, ".png")
                asked = json.dumps(
                    {"image": base64.b64encode(image).decode(), "mask": base64.b64encode(white).decode(),
                     "cv2_flag": "INPAINT_TELEA", "cv2_radius": 3}
                ).encode()  # fmt: skip

                def ask_us(image: bytes = image, black: bytes = black) -> None:
                    assert site.fill(image, black)

                def ask_them(asked: bytes = asked) -> None:
                    assert peer is not None
                    status, _ = peer.ask(
                        "POST", "/api/v1/inpaint", body=asked, headers={"Content-Type": "application/json"}
                    )
                    assert status == 200

                mine, theirs = [], []
                for number in range(options.repeats + 1):  # interleaved; the first pair only warms up
                    pair = timed(ask_us), timed(ask_them) if peer else 0.0
                    if number:
                        mine.append(pair[0])
                        theirs.append(pair[1])
                report(options, "C1", f"fill {side} {suffix[1:]}, one caller", mine, theirs if peer else None)
                if side == 1024:
                    mine = [timed(lambda: four_at_once(ask_us)) / 4 for _ in range(options.repeats)]
                    theirs = [timed(lambda: four_at_once(ask_them)) / 4 for _ in range(options.repeats)] if peer else []
                    report(options, "C1", f"fill {side} {suffix[1:]}, four callers, per picture", mine, theirs or None)


def four_at_once(call: Callable[[], object]) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(call) for _ in range(4)]:
            done.result()


@contextmanager
def iopaint(environment_folder: Path | None) -> Iterator[Site | None]:
    if environment_folder is None:
        yield None
        return
    port = free_port()
    command = [
        str(environment_folder / "bin/iopaint"),
        "start",
        "--model",
        "cv2",
        "--device",
        "cpu",
        "--port",
        str(port),
    ]
    with running(command, {**os.environ, "HF_HUB_OFFLINE": "1"}, port):
        yield Site(port)


def submissions(site: Site, options: argparse.Namespace) -> None:
    """C8: accepting small pictures without waiting; the peer is a bare answer of the same server."""
    photo, mask = scene(64)
    image, black = encoded(photo, ".png"), encoded(255 - mask, ".png")
    site.fill(image, black)
    started, count = time.perf_counter(), 200

    def accept(_: int) -> float:
        return timed(lambda: site.fill(image, black, prefer="respond-async"))

    with ThreadPoolExecutor(4) as threads:
        each = list(threads.map(accept, range(count)))
    rate, p99 = count / (time.perf_counter() - started), sorted(each)[int(0.99 * count)]
    report(options, "C8", "accept a 64x64 picture, four callers", each, [timed(site.livez) for _ in range(50)])
    print(f"     {rate:.0f} accepted a second, p99 {p99 * 1e3:.0f} ms; goal: 100 a second, p99 under 150 ms")
    wait_until_idle(site)


def wait_until_idle(site: Site) -> None:
    """The queue is empty when a small picture comes back at once."""
    photo, mask = scene(64)
    site.fill(encoded(photo, ".png"), encoded(255 - mask, ".png"))


def pages_beside_waiting_callers(site: Site, options: argparse.Namespace) -> None:
    """C10: a page while a hundred callers wait for their pictures; the peer is the same page while nobody waits."""
    photo, mask = scene(512)
    blob = np.zeros_like(mask)
    cv2.ellipse(blob, (256, 256), (110, 80), 0, 0, 360, 255, -1)
    image, black = encoded(photo, ".png"), encoded(255 - blob, ".png")
    alone = [timed(lambda: site.ask("GET", "/accounts/login/")) for _ in range(30)]
    stop = threading.Event()
    callers = [
        threading.Thread(target=lambda: stop.is_set() or site.fill(image, black), daemon=True) for _ in range(100)
    ]
    for caller in callers:
        caller.start()
    time.sleep(5)
    beside = [timed(lambda: site.ask("GET", "/accounts/login/")) for _ in range(30)]
    report(options, "C10", "a page while 100 callers wait", beside, alone)


if __name__ == "__main__":
    main()
