"""Kills at random moments of generations whose model takes long to load, models that crash, and steps that do."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.apps import CRASHING_LOAD, CRASHING_STEP
from tests.support import tiny_networks
from tests.support.installation import Installation

MODEL = "slow"
GENERATIONS = 12
ENDED = "finished_at IS NOT NULL"
STEP_SECONDS = 0.3


class Server:
    """An installation with one model, which is a stand-in whose load takes `load_seconds`."""

    def __init__(self, folder: Path, photo_png: bytes, mask_png: bytes, *, load_seconds: float) -> None:
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DREAMLAYER_WORKERS": "2",
            "CHAOS_LOAD_SECONDS": str(load_seconds),
            "CHAOS_STEP_SECONDS": str(STEP_SECONDS),
        }
        self.installation = Installation(folder / "data", **environment)
        self.images = photo_png, mask_png
        self.key = self.installation.migrate_with_key()
        self.weights = folder / "network.onnx"
        self.weights.write_bytes(tiny_networks.lama())
        self.installation.manage("add_model", MODEL, "--family", "lama", "--from", str(self.weights))

    def submit(self, engine: str = "erase") -> str:
        fields: dict[str, Any] = {"model": MODEL} if engine == "erase" else {}
        photo, mask = self.images
        status, answer = self.installation.img2img(
            self.key, photo, mask, prefer="respond-async", engine=engine, **fields
        )
        assert status == 202, answer
        return str(answer["id"])

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.installation.folder / "dreamlayer.sqlite3", timeout=20)) as database:
            return database.execute(query).fetchall()

    def count(self, condition: str) -> int:
        ((number,),) = self.rows(f"SELECT count(*) FROM inpainting_generation WHERE {condition}")  # noqa: S608
        return int(str(number))

    def wait_until_ended(self, seconds: float = 300) -> None:
        self.installation.wait_until(lambda: not self.count("finished_at IS NULL"), seconds=seconds)

    def document(self, pk: str) -> dict[str, object]:
        status, body = self.installation.get(f"/api/generations/{pk}/", key=self.key)
        assert status == 200, body
        document: dict[str, object] = json.loads(body)
        return document

    @property
    def children(self) -> list[int]:
        assert self.installation.process is not None
        return self.installation.children_of(self.installation.process.pid)

    def is_running(self, condition: str) -> bool:
        """Whether the present child runs a generation of which that is true."""
        return any(
            self.count(f"status = 'running' AND worker LIKE '%:{pid}:%' AND {condition}") for pid in self.children
        )

    def kill_child(self) -> None:
        """As an operator does, or a program that needs the memory."""
        self.installation.wait_until(lambda: self.children)
        (child,) = self.children
        os.kill(child, signal.SIGKILL)
        self.installation.wait_until(lambda: child not in self.children)

    def kill_both(self) -> None:
        """As the end of the machine does."""
        assert self.installation.process is not None
        for child in self.children:
            os.kill(child, signal.SIGKILL)
        self.installation.process.kill()
        self.installation.process.wait()
        self.installation.start()


def test_kills_while_the_model_loads_are_no_attempts(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> None:
    """More of them in a row than attempts are allowed, and than a model may have that crashes by itself."""
    server = Server(tmp_path, photo_png, mask_png, load_seconds=1)
    with server.installation.serving():
        pk = server.submit()
        for number in range(4):
            server.installation.wait_until(lambda: server.is_running("step = 0"))
            server.kill_both() if number == 1 else server.kill_child()
        server.wait_until_ended()
        assert server.document(pk)["status"] == "succeeded", server.document(pk)
    assert server.count("attempts = 1") == 1


@pytest.mark.parametrize(
    ("kills", "load_seconds"),
    [pytest.param(4, 1.0, id="few"), pytest.param(30, 20.0, id="thirty", marks=pytest.mark.chaos)],
)
def test_kills_at_random_moments_fail_lose_and_repeat_nothing(
    tmp_path: Path,
    photo_png: bytes,
    mask_png: bytes,
    capsys: pytest.CaptureFixture[str],
    kills: int,
    load_seconds: float,
) -> None:
    """One in five takes the parent along. The moments are those of a seed, so that a run can be repeated."""
    moments = random.Random(30)  # noqa: S311 - the same moments every time
    server = Server(tmp_path, photo_png, mask_png, load_seconds=load_seconds)
    hit: Counter[str] = Counter()
    with server.installation.serving():
        accepted = {server.submit() for _ in range(GENERATIONS)}
        for number in range(1, kills + 1):
            time.sleep(moments.uniform(0.5, 5 + 1.5 * load_seconds))
            if not server.count("finished_at IS NULL"):
                server.installation.wait_until(lambda: server.installation.get("/livez")[0] == 200)
                accepted |= {server.submit() for _ in range(GENERATIONS)}
            hit["while running, before a step"] += server.is_running("step = 0")
            hit["at a step"] += server.is_running("step > 0")
            server.kill_both() if number % 5 == 0 else server.kill_child()
        server.wait_until_ended()
    ends = Counter(status for (status,) in server.rows("SELECT status FROM inpainting_generation"))
    codes = server.rows("SELECT error_code, error_message, attempts FROM inpainting_generation WHERE error_code != ''")
    images = server.rows("SELECT generation_id FROM inpainting_generatedimage")
    with capsys.disabled():
        print(f"\n{kills} kills, {dict(hit)}: of {len(accepted)} accepted {ends} {codes}")
    assert ends == {"succeeded": len(accepted)}
    assert len(images) == len(set(images)) == len(accepted)


def test_a_model_whose_load_crashes_is_not_loaded_again_until_its_files_change(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    """The generation that waits for it fails with the reason, and others are painted."""
    server = Server(tmp_path, photo_png, mask_png, load_seconds=0)
    crashing = server.installation.folder / CRASHING_LOAD
    crashing.touch()
    with server.installation.serving():
        other, pk = server.submit("quick-fill"), server.submit()
        server.wait_until_ended()
        failed = server.document(pk)
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "model_crashed_worker", failed  # type: ignore[index]
        assert "crashed 3 times in a row while loading it" in server.installation.log
        assert server.document(other)["status"] == "succeeded"
    crashing.unlink()
    with server.installation.serving():  # another process knows, and finds that out at once
        refused = server.submit()
        server.wait_until_ended()
        assert server.document(refused)["error"]["code"] == "model_crashed_worker"  # type: ignore[index]
        (weights,) = (server.installation.folder / "models" / MODEL).rglob("*.onnx")
        os.utime(weights, (1, 1))
        again = server.submit()
        server.wait_until_ended()
        assert server.document(again)["status"] == "succeeded"


def test_a_generation_that_crashes_the_process_at_a_step_fails_after_its_attempts(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    server = Server(tmp_path, photo_png, mask_png, load_seconds=0.5)
    (server.installation.folder / CRASHING_STEP).touch()
    with server.installation.serving():
        pk = server.submit()
        server.wait_until_ended()
        failed = server.document(pk)
        assert failed["error"]["code"] == "job_crashed_worker", failed  # type: ignore[index]
    assert server.rows("SELECT attempts, crashes FROM inpainting_generation") == [(3, 2)]
    assert not list((server.installation.folder / "loads").iterdir())  # its model is not to blame
