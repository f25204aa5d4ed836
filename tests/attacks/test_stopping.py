"""A server that stops answers everybody who waits."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.attacks.clients import FIRST_GENERATION_HANGS, connect
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

CALLERS = 20
STOP_SECONDS = 10
"""The default of --stop-seconds."""
UNFINISHED_UPLOAD = b"POST /api/img2img HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{"


@pytest.mark.parametrize("server_environment", [FIRST_GENERATION_HANGS])
def test_a_stopping_server_answers_waiting_callers_with_a_202(
    server: Installation, server_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    (server.folder / "hang").touch()
    assert server.process is not None
    (child,) = server.children_of(server.process.pid)
    with ThreadPoolExecutor(CALLERS) as callers:
        calls = [callers.submit(server.img2img, server_key, photo_png, mask_png) for _ in range(CALLERS)]
        server.wait_until(lambda: accepted(server, server_key) == CALLERS, seconds=60)
        upload = connect(server)
        upload.sendall(UNFINISHED_UPLOAD)  # The child cannot end before the new connection below is tried.
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        server.wait_until(lambda: is_refused(server), seconds=5)
        assert psutil.pid_exists(child)
        upload.close()
        answers = [call.result() for call in calls]
        assert server.process.wait(60) == 0
        seconds = time.monotonic() - started
    print(f"\nstopped after {seconds:.1f} s")
    assert [(status, body["status"]) for status, body in answers] == [(202, "processing")] * CALLERS
    assert not psutil.pid_exists(child)
    assert "Traceback" not in server.log
    assert seconds < STOP_SECONDS


def accepted(server: Installation, key: str) -> int:
    return int(json.loads(server.get("/api/generations/", key=key)[1])["count"])


def is_refused(server: Installation) -> bool:
    try:
        socket.create_connection((server.host, server.port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was not accepted before the end
        return True
    return False
