"""Full disks, full, locked or unreachable databases, and missing files: real faults instead of mocked errors.

No accepted generation is lost, and no partial result is stored.
"""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection, connections
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import User
from dreamlayer_site import health
from inpainting import tasks
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.generations import submit
from inpainting.keepalive import run_in_thread
from inpainting.media.previews import thumbnail_of
from inpainting.models import GeneratedImage, Generation, IdempotencyKey, LedgerEntry, Mask, SourceImage, Status
from inpainting.worker import poller, watchdog
from inpainting.worker import run as running
from inpainting.worker.run import run_waiting
from tests.support.commit_failures import lose_the_commit_reply
from tests.support.locked_database import locked, shorten_lock_timeouts
from tests.support.small_disk import fill, make_room, small_disk

pytestmark = pytest.mark.django_db(transaction=True)
Generate = Callable[..., Generation]
LONGER_THAN_A_PAGE = "a lawn " * 1000
"""SQLite's pages have 4096 bytes."""
ROWS = (Generation, SourceImage, Mask, GeneratedImage, IdempotencyKey, LedgerEntry)


@pytest.fixture
def sqlite() -> str:
    """The path of the database."""
    if connection.vendor != "sqlite":
        pytest.skip("this is how SQLite breaks")
    return str(connection.settings_dict["NAME"])


@pytest.fixture
def waits(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> Generate:
    """waits(owner) -> a queued generation of which no worker was notified."""

    def make(owner: User, **images: CanonicalImage) -> Generation:
        with monkeypatch.context() as away:
            away.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)
            return generate(owner, **images)

    return make


@pytest.fixture
def ask(alices_program: Client, photo_png: bytes, mask_png: bytes) -> Callable[..., Any]:
    """ask(prompt) -> the answer to the published request, always with the same Idempotency-Key."""

    def send(prompt: str = "a lawn") -> Any:
        body = {
            "image": SimpleUploadedFile("input.png", photo_png, "image/png"),
            "mask": SimpleUploadedFile("mask.png", mask_png, "image/png"),
            "prompt": prompt,
        }
        return alices_program.post("/api/img2img", body, headers={"Idempotency-Key": "once"})

    return send


@pytest.fixture
def disk(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """Images lie on a disk of one megabyte, which may be filled up."""
    settings.FREE_SPACE_MB = 0
    with small_disk(tmp_path, megabytes=1) as folder:
        kept = settings.STORAGES["default"]
        settings.STORAGES = {
            **settings.STORAGES,
            "default": {**kept, "OPTIONS": {**kept["OPTIONS"], "location": folder / "pictures"}},
        }
        yield folder


def files() -> set[Path]:
    return {path for path in Path(default_storage.path("")).rglob("*") if path.is_file()}


def kept() -> tuple[list[int], set[Path]]:
    return [model._default_manager.count() for model in ROWS], files()


def pragma(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {statement}")
        return int(cursor.fetchone()[0])


@contextmanager
def full_database() -> Iterator[None]:
    """Let the database have no free page and no permission to grow, as on a full disk. Rows longer than a page fail;
    short ones may still fit into a page that is not full.
    """
    most = pragma("max_page_count")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE filler (bytes BLOB)")
        pragma("max_page_count = 1")  # SQLite raises it to the present size
        for size in (2**power for power in range(20, 8, -1)):
            with suppress(OperationalError):
                while True:
                    cursor.execute("INSERT INTO filler VALUES (zeroblob(%s))", [size])
        try:
            yield
        finally:
            pragma(f"max_page_count = {most}")
            cursor.execute("DROP TABLE filler")


def waits_uncounted(generation: Generation) -> bool:
    generation.refresh_from_db()
    return (generation.status, generation.attempts) == (Status.QUEUED, 0) and not Generation.startable().exists()


def succeeds_after_its_pause(generation: Generation) -> bool:
    Generation.objects.update(lease_until=None)
    run_waiting()
    generation.refresh_from_db()
    return generation.status == Status.SUCCEEDED


# Accepting


@pytest.mark.usefixtures("sqlite")
def test_a_full_database_refuses_the_request_and_stores_nothing(ask: Callable[..., Any]) -> None:
    with full_database():
        before = kept()
        answer = ask(LONGER_THAN_A_PAGE)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert kept() == before
    assert ask().status_code == 200


@pytest.mark.parametrize("pages", [0, 1, 3])  # room for: nothing, half the photo, the photo
def test_a_full_disk_refuses_the_request_and_stores_nothing(ask: Callable[[], Any], disk: Path, pages: int) -> None:
    fill(disk, leaving_bytes=pages * 4096)
    answer = ask()
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert kept() == ([0] * len(ROWS), set())
    make_room(disk)
    assert ask().status_code == 200


def test_a_nearly_full_disk_refuses_requests_and_is_not_ready(
    ask: Callable[[], Any], disk: Path, settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready() -> Any:
        monkeypatch.setattr(health, "readiness", health.CachedCheck(health.find_problems))
        return client.get("/readyz").json()

    settings.FREE_SPACE_MB = 256  # of which a small disk reserves a tenth
    fill(disk, leaving_bytes=90_000)
    answer = ask()
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert kept() == ([0] * len(ROWS), set())
    assert ready() == {"status": "unavailable", "storage": "has too little free space"}
    make_room(disk)
    assert ready() == {"status": "ok"}
    assert ask().status_code == 200


def test_an_accepted_generation_is_painted_on_a_nearly_full_disk(
    waits: Generate, alice: User, disk: Path, settings: Settings
) -> None:
    generation = waits(alice)
    settings.FREE_SPACE_MB = 256
    fill(disk, leaving_bytes=90_000)
    run_waiting()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


def test_a_locked_database_answers_503_with_retry_after(
    ask: Callable[[], Any], sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_lock_timeouts(monkeypatch)
    before = kept()
    with locked(sqlite):
        answer = ask()
        assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "try_again", "5")
        assert kept() == before
    assert ask().status_code == 200
    assert ask().status_code == 200
    assert Generation.objects.count() == 1


# Painting


@pytest.mark.usefixtures("sqlite")
def test_a_full_database_at_the_commit_costs_no_attempt(
    alice: User, waits: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = waits(alice)
    monkeypatch.setattr(running, "report", lambda painting: {"notes": [LONGER_THAN_A_PAGE]})
    with full_database():
        before = kept()
        run_waiting()
        assert waits_uncounted(generation)
        assert kept() == before
    assert succeeds_after_its_pause(generation)


def test_a_full_disk_at_the_commit_costs_no_attempt(alice: User, waits: Generate, disk: Path) -> None:
    generation = waits(alice)
    before = kept()
    fill(disk)
    run_waiting()  # returns without an immediate retry
    assert waits_uncounted(generation)
    make_room(disk)
    assert kept() == before
    assert succeeds_after_its_pause(generation)


def test_a_worker_waits_for_a_locked_database(
    alice: User, waits: Generate, sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, lock = waits(alice), sqlite3.connect(sqlite, isolation_level=None)
    shorten_lock_timeouts(monkeypatch)
    pauses = during_a_database_wait(monkeypatch, lock.rollback)
    after_the_start(monkeypatch, lambda: lock.execute("BEGIN EXCLUSIVE"))
    run_waiting()
    lock.close()
    generation.refresh_from_db()
    assert (generation.status, generation.attempts, len(pauses)) == (Status.SUCCEEDED, 1, 1)
    assert generation.images.get().read().size == generation.source.read().size


def test_a_worker_reconnects_to_a_restarted_database(
    alice: User, waits: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("this is how connections to PostgreSQL end")
    generation = waits(alice)
    pauses = during_a_database_wait(monkeypatch, lambda: None)

    def hang_up() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.close()

    after_the_start(monkeypatch, hang_up)
    run_waiting()
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.SUCCEEDED, 1)
    assert len(pauses) <= 1  # the reconnect may happen at a step, without a pause


def test_a_generation_that_waits_for_the_database_is_not_requeued(
    alice: User, waits: Generate, sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease expires meanwhile; the poller of the same process must not requeue it."""
    generation, lock = waits(alice), sqlite3.connect(sqlite, isolation_level=None)
    shorten_lock_timeouts(monkeypatch)

    def poll() -> None:
        lock.rollback()
        Generation.objects.update(lease_until="2020-01-01T00:00:00Z")
        poller.return_abandoned()

    during_a_database_wait(monkeypatch, poll)
    after_the_start(monkeypatch, lambda: lock.execute("BEGIN EXCLUSIVE"))
    run_waiting()
    lock.close()
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.SUCCEEDED, 1)


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_a_result_that_a_stopping_process_cannot_commit_is_run_again(
    alice: User, waits: Generate, sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, lock = waits(alice), sqlite3.connect(sqlite, isolation_level=None)
    shorten_lock_timeouts(monkeypatch)
    before = files()

    def stop() -> None:
        lock.execute("BEGIN EXCLUSIVE")
        watchdog.draining.set()
        watchdog.stopping.set()

    after_the_start(monkeypatch, stop)
    run_waiting()
    lock.close()
    generation.refresh_from_db()
    assert generation.status == Status.RUNNING
    assert files() == before
    watchdog.draining.clear()
    watchdog.stopping.clear()
    assert poller.recover() == 1
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


@pytest.mark.usefixtures("sqlite")
def test_a_commit_that_the_disk_refuses_is_retried(
    alice: User, waits: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite writes only when it commits. The fence read before a failed commit is therefore not valid."""
    generation = waits(alice)
    assert generation.start()
    pragma("wal_checkpoint(TRUNCATE)")
    monkeypatch.setattr(running.logger, "disabled", True)  # the log file may be too large too
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    pauses = during_a_database_wait(monkeypatch, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # no file may become larger
    try:
        assert running.retry_until_committed(generation.release, watchdog.Heartbeat("a test"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(pauses) == 1
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.QUEUED, 0)


@pytest.mark.parametrize("part", ["source", "mask", *CONDITIONING_IMAGES])
def test_a_missing_input_file_fails_the_generation_and_is_named(
    alice: User, alices_program: Client, waits: Generate, part: str, photo: NDArray[np.uint8]
) -> None:
    generation = waits(alice, **dict.fromkeys(CONDITIONING_IMAGES, CanonicalImage(photo)))
    Path(generation.inputs[part].file.path).unlink()
    run_waiting()
    error = alices_program.get(f"/api/generations/{generation.pk}/").json()["error"]
    assert error["code"] == "image_gone"
    assert "gone" in error["message"]


# Lost replies


@pytest.mark.parametrize("stops", [False, True])
def test_a_result_with_a_lost_commit_reply_keeps_its_files(
    alice: User, waits: Generate, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    generation, succeed = waits(alice), Generation.succeed
    pauses = during_a_database_wait(monkeypatch, lambda: None)

    def succeed_without_reply(self: Generation, images: list[GeneratedImage]) -> bool:
        monkeypatch.setattr(Generation, "succeed", succeed)
        lose_the_commit_reply(watchdog.stopping.set if stops else lambda: None)
        return self.succeed(images)

    monkeypatch.setattr(Generation, "succeed", succeed_without_reply)
    run_waiting()
    generation.refresh_from_db()
    assert (generation.status, len(pauses)) == (Status.SUCCEEDED, 0 if stops else 1)
    image = generation.images.get()
    assert image.read().size == generation.source.read().size
    assert thumbnail_of(image).size > 0


@pytest.mark.parametrize("goes_away", [False, True])
def test_a_submit_with_a_lost_commit_reply_keeps_its_files_and_its_key(
    ask: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, goes_away: bool
) -> None:
    save_and_notify, gone = submit.save_and_notify, []

    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    def go() -> None:
        if goes_away:
            gone.append(connections["default"])
            vars(gone[0])["_cursor"] = away

    def keep_without_reply(*args: Any) -> None:
        save_and_notify(*args)
        lose_the_commit_reply(go)

    monkeypatch.setattr(submit, "save_and_notify", keep_without_reply)
    answer = ask()
    monkeypatch.setattr(submit, "save_and_notify", save_and_notify)
    for generation in gone:
        del vars(generation)["_cursor"]
    assert (answer.status_code, answer.json()["code"]) == (503, "try_again")
    run_waiting()  # no worker was notified; the poller does it
    assert Generation.objects.get().status == Status.SUCCEEDED
    answer = ask()
    assert (answer.status_code, answer.json()["id"]) == (200, str(Generation.objects.get().pk))


def after_the_start(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Call `happens` when a worker has started a generation and has not painted a step."""

    def read_and_break(read: Callable[[], InpaintRequest], on_wait: Callable[[], None]) -> InpaintRequest:
        request = run_in_thread(read, on_wait)
        monkeypatch.setattr(running, "run_in_thread", run_in_thread)
        happens()
        return request

    monkeypatch.setattr(running, "run_in_thread", read_and_break)


def during_a_database_wait(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> list[float | None]:
    """Call `happens` when a worker waits for the database. Returns the requested length of each pause."""
    pauses: list[float | None] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            happens()
            return self.is_set()

    monkeypatch.setattr(watchdog, "stopping", Stopping())
    return pauses
