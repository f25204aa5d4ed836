"""A running DreamLayer server, the peer that it is compared with, and their requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """A server on loopback and how to ask it."""

    def __init__(self, port: int, key: str = "") -> None:
        self.port = port
        self.key = key
        self.folder = Path()
        self.session = 0

    def ask(
        self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body=body, headers={"X-API-Key": self.key, **(headers or {})})
        answer = connection.getresponse()
        read = answer.status, answer.read()
        connection.close()
        return read

    def processor_seconds(self) -> float:
        """Used by the processes of this server so far, by proc_pid_stat(5)."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()  # from the third on, the state
                ticks += int(fields[11]) + int(fields[12]) if int(fields[3]) == self.session else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    def livez(self) -> None:
        assert self.ask("GET", "/livez")[0] == 200

    def fill(self, image: bytes, mask: bytes, *, prefer: str = "", output_format: str = "png") -> bytes:
        """Our answer with its image: the call, then the link."""
        status, body = self.ask("POST", "/api/img2img", **multipart(image, mask, prefer, output_format))  # type: ignore[arg-type]
        if prefer:
            assert status == 202, body
            return body
        assert status == 200, body
        return self.ask("GET", urlsplit(json.loads(body)["images"][0]).path)[1]


def multipart(image: bytes, mask: bytes, prefer: str, output_format: str) -> dict[str, object]:
    boundary = uuid4().hex
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    body = (
        f'{start}"prompt"\r\n\r\n\r\n{start}"output_format"\r\n\r\n{output_format}\r\n'.encode()
        + f'{start}"image"; filename="i"\r\n\r\n'.encode()
        + image
        + f'\r\n{start}"mask"; filename="m.png"\r\nContent-Type: image/png\r\n\r\n'.encode()
        + mask
        + f"\r\n--{boundary}--\r\n".encode()
    )
    return {"body": body, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}", "Prefer": prefer}}


@contextmanager
def ours(folder: Path, *options: str) -> Iterator[Site]:
    """A server on a new data folder. options: of `serve`."""
    environment = {**os.environ, "DREAMLAYER_DATA_DIR": str(folder)}
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
    made = subprocess.run(
        [*manage, "create_api_key", "bench@example.com", "--create-user"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    site = Site(free_port(), made.stdout.strip())
    site.folder = folder
    command = [*manage, "serve", "--port", str(site.port), *options]
    with running(command, environment, site.port) as site.session:
        yield site


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """Start a server, wait until it listens, and yield the number of its session."""
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
        yield server.pid
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


@contextmanager
def iopaint(environment_folder: Path | None) -> Iterator[Site | None]:
    if environment_folder is None:
        yield None
        return
    site = Site(free_port())
    command = [
        str(environment_folder / "bin/iopaint"),
        "start",
        "--model",
        "cv2",
        "--device",
        "cpu",
        "--port",
        str(site.port),
    ]
    with running(command, {**os.environ, "HF_HUB_OFFLINE": "1"}, site.port) as site.session:
        yield site
