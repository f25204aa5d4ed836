"""A thousand callers wait for their results: none of them holds a thread or an image."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from uuid import uuid4

import numpy as np
import psutil
import pytest

from inpainting.core.codecs import encode_png
from inpainting.core.image import CanonicalImage
from tests.attacks.clients import FIRST_GENERATION_HANGS
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

CALLERS, GENERATIONS = 1000, 50
SIDE = 256


def call(server: Installation, key: str, body: bytes, boundary: str, number: int) -> socket.socket:
    """Send a request that waits for its result; every GENERATIONS-th waits for the same one."""
    caller = socket.create_connection((server.host, server.port), timeout=60)
    head = [
        "POST /api/img2img HTTP/1.1",
        "Host: localhost",
        f"X-API-Key: {key}",
        f"Idempotency-Key: {number % GENERATIONS}",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {len(body)}",
    ]
    caller.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return caller


def body_of(boundary: str) -> bytes:
    """A multipart form with a photo of noise, which does not compress: 200 KB."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    mask = np.full((SIDE, SIDE, 1), 255, np.uint8)
    mask[200:300, 200:300] = 0
    parts = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n'.encode()
        + b"Content-Type: image/png\r\n\r\n"
        + encode_png(CanonicalImage(pixels))
        + b"\r\n"
        for name, pixels in (("image", noise), ("mask", mask))
    )
    return parts + f"--{boundary}--\r\n".encode()


@pytest.mark.parametrize("server_environment", [FIRST_GENERATION_HANGS])
def test_waiting_callers_hold_neither_threads_nor_images(
    server: Installation, server_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    (server.folder / "hang").touch()
    assert server.process is not None
    (pid,) = server.children_of(server.process.pid)
    child = psutil.Process(pid)
    boundary = uuid4().hex
    body = body_of(boundary)
    threads = child.num_threads()
    with ExitStack() as callers:
        with Measurement(server) as calling:
            for number in range(CALLERS):
                callers.enter_context(call(server, server_key, body, boundary, number))
            # Requests with images take turns, so this one is answered after all others were accepted.
            assert server.img2img(server_key, photo_png, mask_png, prefer="respond-async")[0] == 202
        with Measurement(server) as waiting:
            time.sleep(2)
            more_threads = child.num_threads() - threads
    print(f"{more_threads} more threads, +{(waiting.peak_memory - calling.idle_memory) / MB:.0f} MB while they wait")
    assert more_threads < 20
    assert waiting.peak_memory - calling.idle_memory < 300 * MB
    assert waiting.slowest_page < 1.5
