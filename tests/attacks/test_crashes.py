"""A crash is blamed on no generation that ran beside the one that caused it."""

from __future__ import annotations

import os
import signal
import sqlite3
from base64 import b64encode
from contextlib import closing
from json import dumps

import pytest

from tests.chaos.apps import CRASH
from tests.installation import Installation

pytestmark = pytest.mark.attack

GENERATIONS, SIDE_BY_SIDE, KILLS = 30, 12, 5
RUNNING, SUCCEEDED, WAITING = "status = 'running'", "status = 'succeeded'", "finished_at IS NULL"


@pytest.fixture
def server_environment() -> dict[str, str]:
    return {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "DREAMLAYER_WORKERS": str(SIDE_BY_SIDE)}


def count(server: Installation, condition: str) -> int:
    query = f"SELECT count(*) FROM inpainting_generation WHERE {condition}"  # noqa: S608 - our own text
    with closing(sqlite3.connect(server.folder / "dreamlayer.sqlite3", timeout=20)) as database:
        return int(database.execute(query).fetchone()[0])


def kill_child_while_it_paints(server: Installation) -> int:
    """Kill the serving process once it runs generations; return how many."""
    assert server.process is not None
    parent = server.process.pid

    def running() -> int:
        children = server.children_of(parent)
        return count(server, f"status = 'running' AND worker LIKE '%:{children[0]}:%'") if children else 0

    server.wait_until(running)
    killed, (child,) = running(), server.children_of(parent)
    os.kill(child, signal.SIGKILL)
    server.wait_until(lambda: child not in server.children_of(parent))
    return killed


@pytest.fixture
def submit_all(server: Installation, server_key: str, photo_png: bytes, mask_png: bytes) -> None:
    """Submit GENERATIONS and one that kills the process, and wait until SIDE_BY_SIDE of them run and hold."""
    pictures = {"image": b64encode(photo_png).decode(), "mask": b64encode(mask_png).decode()}
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    (server.folder / "hold").touch()
    for prompt in [CRASH, *["a lawn"] * GENERATIONS]:
        body = dumps({**pictures, "prompt": prompt}).encode()
        assert server.get("/api/img2img", key=server_key, data=body, headers=headers)[0] == 202
    server.wait_until(lambda: count(server, RUNNING) == SIDE_BY_SIDE)


@pytest.mark.usefixtures("submit_all")
def test_a_generation_fails_only_for_crashes_while_it_ran_alone(server: Installation) -> None:
    for kill in range(1, KILLS + 1):
        print(f"kill {kill} of {KILLS}: {kill_child_while_it_paints(server)} were running")
    (server.folder / "hold").unlink()
    server.wait_until(lambda: count(server, WAITING) == 0)
    print(f"{count(server, SUCCEEDED)} of {GENERATIONS} succeeded")
    assert count(server, SUCCEEDED) == GENERATIONS
    assert count(server, "error_code = 'job_crashed_worker' AND attempts = 3") == 1
