"""Outlines that are expensive to parse are refused before, and one user's masks do not hold up another's clicks."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = pytest.mark.attack

PATH_BYTES = 4_000_000
ALLOWED_COMMANDS = 390_000
CLICKS = 6


def operations(*, path: str) -> bytes:
    """A request with eleven masks."""
    mask = {"size": [64, 64], "path": path}
    return json.dumps({"mask": mask, "operations": [{"name": "add", "mask": mask}] * 10}).encode()


def post(server: Installation, url: str, key: str, body: bytes) -> tuple[int, str]:
    status, answer = server.get(url, key=key, data=body, headers={"Content-Type": "application/json"})
    return status, json.loads(answer).get("code", "")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("M0 0" + "Z" * (PATH_BYTES - 4), id="closed"),
        pytest.param("M0 0" * (PATH_BYTES // 4), id="moved", marks=pytest.mark.full),
        pytest.param("M0 0" + "h1" * (PATH_BYTES // 2 - 2), id="drawn", marks=pytest.mark.full),
        pytest.param("M0 0" + "Z" * ALLOWED_COMMANDS, id="as long as one mask may be", marks=pytest.mark.full),
    ],
)
def test_eleven_expensive_outlines_are_refused_beside_the_clicks_of_another_user(
    server: Installation, server_key: str, photo_png: bytes, path: str
) -> None:
    visitor_key = server.manage("create_api_key", "visitor@example.com", "--create-user").strip()
    click = json.dumps(
        {"image": b64encode(photo_png).decode(), "points": [[30, 30]], "format": "rle", "store": False}
    ).encode()
    assert post(server, "/api/masks/", visitor_key, click)[0] == 200  # loads what selecting needs
    body, waits = operations(path=path), []
    with Measurement(server) as measured, ThreadPoolExecutor(2) as attackers:
        answers = attackers.map(lambda _: post(server, "/api/masks/operations/", server_key, body), range(4))
        for _ in range(CLICKS):
            started = time.monotonic()
            assert post(server, "/api/masks/", visitor_key, click) == (200, "")
            waits.append(time.monotonic() - started)
        assert set(answers) == {(400, "mask_too_complex")}
    print(f"slowest of {CLICKS} clicks: {max(waits):.2f} s")
    assert max(waits) < 5
    assert measured.slowest_page < 2
    assert measured.extra_memory < 400 * MB
