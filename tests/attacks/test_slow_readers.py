"""Clients that request downloads and do not read them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from tests.attacks.clients import large_archive, large_result, requests, status_of
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation, overriding

pytestmark = [pytest.mark.attack, pytest.mark.full]

SIZE = 30 * MB


@pytest.fixture
def server_environment() -> dict[str, str]:
    return overriding(SEND_SECONDS=4, DOWNLOAD_WAIT_SECONDS=2)


@pytest.mark.parametrize("kind", ["result", "range", "archive"])
def test_sixty_unread_downloads_take_little_memory_and_end(
    server: Installation, server_key: str, photo_png: bytes, mask_png: bytes, kind: str
) -> None:
    large = large_archive if kind == "archive" else large_result
    path = large(server, server_key, photo_png, mask_png, size=SIZE)
    headers = {"Range": f"bytes=1000-{SIZE - 1000}"} if kind == "range" else {}
    with Measurement(server) as measured, requests(server, path, count=60, X_API_Key=server_key, **headers) as clients:
        time.sleep(3)
        statuses = [status_of(client) for client in clients]
        server.wait_until(lambda: not open_images(server), seconds=20)
        assert sorted(set(statuses)) == [206 if kind == "range" else 200, 429]
        assert statuses.count(429) == 28
    assert measured.extra_memory < 100 * MB
    assert measured.slowest_page < 5


def test_a_refused_download_has_a_clear_error(
    server: Installation, server_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    path = large_result(server, server_key, photo_png, mask_png, size=SIZE)
    with requests(server, path, count=32):
        server.wait_until(lambda: len(open_images(server)) == 32)
        status, body = server.get(path)
        assert (status, json.loads(body)["code"], json.loads(body)["limit"]) == (429, "too_many_downloads", 32)
        assert server.get("/accounts/login/")[0] == 200
    server.wait_until(lambda: not open_images(server), seconds=3)  # at once, not after SEND_SECONDS
    assert server.get(path)[0] == 200


def open_images(server: Installation) -> list[str]:
    """The images that the server's processes have open."""
    assert server.process is not None
    processes = psutil.Process(server.process.pid).children(recursive=True)
    images = str(Path(server.folder / "pictures").resolve())
    return [file.path for process in processes for file in process.open_files() if file.path.startswith(images)]
