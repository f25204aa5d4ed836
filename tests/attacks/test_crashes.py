"""A crash is blamed on no generation that ran beside the one that caused it."""

from __future__ import annotations

import os
import signal
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from json import dumps
from pathlib import Path

import pytest

from tests.chaos.apps import CRASH
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

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
def submit(installed: tuple[Installation, str], photo_png: bytes, mask_png: bytes) -> Callable[..., None]:
    """Submits a generation with these fields, without waiting for it."""
    server, key = installed
    images = {"image": b64encode(photo_png).decode(), "mask": b64encode(mask_png).decode()}
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}

    def submit(**fields: object) -> None:
        body = dumps({**images, **fields}).encode()
        status, answer = server.get("/api/img2img", key=key, data=body, headers=headers)
        assert status == 202, answer

    return submit


@pytest.fixture
def submit_all(server: Installation, submit: Callable[..., None]) -> None:
    """Submit GENERATIONS and one that kills the process, and wait until SIDE_BY_SIDE of them run and hold."""
    (server.folder / "hold").touch()
    for prompt in [CRASH, *["a lawn"] * GENERATIONS]:
        submit(prompt=prompt)
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


@pytest.mark.parametrize("server_environment", [{"DREAMLAYER_DIFFUSION_DEVICE": "cpu"}])
def test_diffusion_jobs_that_share_steps_survive_crashes(
    installed: tuple[Installation, str], submit: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tiny_models = pytest.importorskip("tests.support.tiny_models", reason="diffusion is not installed")
    server = installed[0]
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.saved(folder)
    server.manage("add_model", "tiny", "--family", "sd", "--from", str(folder))
    with server.serving():
        for _ in range(GENERATIONS):
            submit(prompt="a red bus", steps=20)
        for kill in range(1, KILLS + 1):
            server.wait_until(lambda: count(server, "status = 'running' AND step > 0"))
            print(f"kill {kill} of {KILLS}: {kill_child_while_it_paints(server)} were running")
        server.wait_until(lambda: count(server, WAITING) == 0, seconds=400)
        print(f"{count(server, SUCCEEDED)} of {GENERATIONS} succeeded")
        assert count(server, "engine = 'diffusion'") == count(server, SUCCEEDED) == GENERATIONS
