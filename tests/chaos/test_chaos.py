"""Two hundred generations and thirty kills: every accepted generation ends exactly once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.apps import FAIL_POINTS
from tests.support.installation import Installation

pytestmark = pytest.mark.chaos

GENERATIONS, KILLS, KILLS_WHILE_RUNNING = 200, 30, 20


class Chaos:
    """A server that is killed, and clients that keep submitting."""

    def __init__(self, installation: Installation, photo_png: bytes, mask_png: bytes) -> None:
        self.installation = installation
        self.key = installation.manage("create_api_key", "alice@example.com", "--create-user").strip()
        self.images = photo_png, mask_png
        self.acknowledged: list[str] = []
        self.unanswered = 0
        self.killing = True
        self.given_up = False
        self.server: subprocess.Popen[str] | None = None

    def ask(self) -> None:
        """Submit as a client that retries on connection errors, with a bounded number of queued generations."""
        while not self.given_up and (self.killing or len(self.acknowledged) < GENERATIONS):
            if self.count("status = 'queued'") > 6:
                time.sleep(0.05)
                continue
            try:
                status, answer = self.installation.img2img(self.key, *self.images, prefer="respond-async")
            except (OSError, ValueError):
                status, answer = 0, {}
            if status == 202:
                self.acknowledged.append(str(answer["id"]))
            else:
                self.unanswered += 1
                time.sleep(0.2)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.installation.folder / "dreamlayer.sqlite3", timeout=20)) as database:
            return database.execute(query).fetchall()

    def count(self, condition: str) -> int:
        (row,) = self.rows(f"SELECT count(*) FROM inpainting_generation WHERE {condition}")  # noqa: S608 - our own text
        return int(str(row[0]))

    def has_ended(self, how_many: int) -> bool:
        return self.count("finished_at IS NOT NULL") >= how_many

    def start(self) -> None:
        """Start the server if its process has ended."""
        if self.server is None or self.server.poll() is not None:
            self.server = self.installation.start()

    def kill(self, kind: str) -> bool:
        """Kill the server; return whether a generation was running at that moment."""
        assert self.server is not None
        if kind in FAIL_POINTS:
            armed, server = self.installation.folder / "fail-point", self.server
            children = self.installation.children_of(server.pid)
            armed.write_text(kind)
            self.installation.wait_until(lambda: not armed.exists())
            self.installation.wait_until(lambda: self.installation.children_of(server.pid) != children)
            return kind.startswith(("result", "commit before")) or bool(self.count("status = 'running'"))
        self.installation.wait_until(lambda: self.count("status = 'running'"))
        running = bool(self.count("status = 'running'"))
        if kind in ("child", "both"):
            for child in self.installation.children_of(self.server.pid):
                os.kill(child, signal.SIGKILL)
        if kind in ("parent", "both"):
            self.server.kill()
            self.server.wait()
        return running


def test_every_accepted_generation_ends_exactly_once(
    tmp_path: Path, photo_png: bytes, mask_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    installation = Installation(
        tmp_path, DJANGO_SETTINGS_MODULE="tests.chaos.settings", DREAMLAYER_LEASE_SECONDS="2", DREAMLAYER_WORKERS="2"
    )
    installation.migrate()
    chaos = Chaos(installation, photo_png, mask_png)
    kinds = [*FAIL_POINTS * 2, *["child"] * 12, *["parent"] * 3, *["both"] * 3]
    random.Random(11).shuffle(kinds)  # noqa: S311 - the same order every time
    assert len(kinds) == KILLS
    chaos.start()
    programs = [threading.Thread(target=chaos.ask, daemon=True) for _ in range(2)]
    landed = 0
    try:
        installation.wait_until(lambda: installation.get("/livez")[0] == 200)
        for program in programs:
            program.start()
        for kind in kinds:
            # A few finish between two kills, so that no generation reaches its third attempt.
            enough = chaos.count("finished_at IS NOT NULL") + 4
            installation.wait_until(partial(chaos.has_ended, enough))
            landed += chaos.kill(kind)
            chaos.start()
        chaos.killing = False
        for program in programs:
            program.join()
        installation.wait_until(lambda: chaos.count("finished_at IS NULL") == 0, seconds=120)
    finally:
        chaos.given_up = True
        if chaos.server is not None and chaos.server.poll() is None:
            chaos.server.send_signal(signal.SIGTERM)
            chaos.server.wait(40)

    ids = {str(row[0]).replace("-", "") for row in chaos.rows("SELECT id FROM inpainting_generation")}
    acknowledged = {pk.replace("-", "") for pk in chaos.acknowledged}
    succeeded = chaos.count("status = 'succeeded'")
    images = chaos.rows("SELECT generation_id, file, sha256, thumbnail FROM inpainting_generatedimage")
    canonicals = installation.folder / "pictures"
    with capsys.disabled():
        print(
            f"\n{len(ids)} accepted ({len(acknowledged)} acknowledged, {chaos.unanswered} calls unanswered), "
            f"{len(kinds)} kills of which {landed} landed while one was running: {succeeded} succeeded, "
            f"{len(acknowledged - ids)} lost, {len(images) - len({row[0] for row in images})} painted twice"
        )
    assert len(acknowledged) >= GENERATIONS
    assert landed >= KILLS_WHILE_RUNNING
    assert acknowledged <= ids
    assert succeeded == len(ids)
    assert len(images) == len({row[0] for row in images}) == succeeded
    for _, name, digest, _ in images:
        assert hashlib.sha256((canonicals / str(name)).read_bytes()).hexdigest() == digest


def test_a_hung_process_is_ended_and_its_generation_runs_again(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    installation = Installation(
        tmp_path, DJANGO_SETTINGS_MODULE="tests.chaos.settings", DREAMLAYER_LEASE_SECONDS="2", DREAMLAYER_WORKERS="1"
    )
    installation.migrate()
    key = installation.manage("create_api_key", "alice@example.com", "--create-user").strip()
    (tmp_path / "hang").touch()
    with installation.serving() as server:
        (child,) = installation.children_of(server.pid)
        answer = installation.img2img(key, photo_png, mask_png, prefer="respond-async")[1]
        installation.wait_until(lambda: b'"succeeded"' in installation.get(str(answer["url"]), key=key)[1])
        assert installation.children_of(server.pid) != [child]
    assert "no progress" in installation.log


@pytest.mark.parametrize(("moment", "missing"), [("commit after", 2), ("thumbnail before", 2), ("thumbnail after", 1)])
def test_thumbnails_that_a_killed_process_did_not_store_are_made_when_requested(
    tmp_path: Path, photo_png: bytes, mask_png: bytes, moment: str, missing: int
) -> None:
    """Killed after the generation has succeeded: before both thumbnails, that of the source and that of the result, are
    stored, or between them."""
    installation = Installation(tmp_path, DJANGO_SETTINGS_MODULE="tests.chaos.settings", DREAMLAYER_WORKERS="1")
    installation.migrate()
    chaos = Chaos(installation, photo_png, mask_png)

    def without_thumbnail() -> int:
        sources = chaos.rows("SELECT id FROM inpainting_sourceimage WHERE thumbnail = ''")
        return len(sources + chaos.rows("SELECT id FROM inpainting_generatedimage WHERE thumbnail = ''"))

    with installation.serving() as server:
        (child,) = installation.children_of(server.pid)
        (tmp_path / "fail-point").write_text(moment)
        answer = installation.img2img(chaos.key, photo_png, mask_png, prefer="respond-async")[1]
        installation.wait_until(lambda: installation.children_of(server.pid) not in ([], [child]))
        installation.wait_until(lambda: installation.get("/readyz")[0] == 200)
        assert chaos.count("status = 'succeeded' AND attempts = 1") == 1
        assert without_thumbnail() == missing
        for part in ("source", "images/0"):
            status, webp = installation.get(f"/api/generations/{answer['id']}/{part}/thumbnail/", key=chaos.key)
            assert (status, webp[8:12]) == (200, b"WEBP")
        assert without_thumbnail() == 0
