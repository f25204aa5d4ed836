"""Health checks: correct, and cached for a second."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.files import File
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from dreamlayer_site import health
from inpainting.storage import DurableFileSystemStorage
from inpainting.worker import watchdog
from tests.support.locked_database import locked


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock: clock[0] is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(health, "readiness", health.CachedCheck(health.find_problems))
    monkeypatch.setattr(health, "servers", health.CachedCheck(health.find_servers_away))
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def images_in(settings: Settings, folder: Path) -> None:
    kept = settings.STORAGES["default"]
    options = {**kept["OPTIONS"], "location": folder}
    settings.STORAGES = {**settings.STORAGES, "default": {**kept, "OPTIONS": options}}


def test_it_is_ready_and_leaves_no_file(client: Client, db: None, settings: Settings, tmp_path: Path) -> None:
    images_in(settings, tmp_path)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_may_name_any_host(client: Client, db: None, settings: Settings, path: str) -> None:
    settings.ALLOWED_HOSTS = ["paint.example.org"]
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/accounts/login/", headers={"host": "10.1.2.3:8000"}).status_code == 400


def test_a_read_only_folder_is_reported_until_it_is_writable(
    client: Client, db: None, settings: Settings, tmp_path: Path, clock: list[float]
) -> None:
    folder = tmp_path / "pictures"
    folder.write_text("a file where the folder should be")
    images_in(settings, folder)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "storage": "cannot be written"})
    assert client.get("/livez").status_code == 200
    folder.unlink()
    assert client.get("/readyz").status_code == 503  # as of a moment ago
    clock[0] += health.CACHE_SECONDS
    assert client.get("/readyz").status_code == 200


def test_a_database_without_tables_is_reported(client: Client, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inpainting_generation RENAME TO inpainting_elsewhere")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "database": "does not answer"})


@pytest.mark.django_db(transaction=True)
def test_a_database_that_cannot_be_written_is_reported(
    client: Client, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite is the database that one writer locks for all")
    monkeypatch.setattr(health, "DATABASE_LOCK_SECONDS", 0.05)
    with locked(str(connection.settings_dict["NAME"])):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "database": "cannot be written"})
    clock[0] += health.CACHE_SECONDS
    assert client.get("/readyz").json() == {"status": "ok"}


@pytest.mark.django_db(transaction=True)
def test_a_standby_is_reported(client: Client, clock: list[float]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no standbys")
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        try:
            assert client.get("/readyz").json() == {"status": "unavailable", "database": "cannot be written"}
        finally:
            cursor.execute("RESET default_transaction_read_only")


def test_it_writes_at_most_once_a_second(
    client: Client, db: None, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written, save = [], DurableFileSystemStorage.save

    def counted(self: DurableFileSystemStorage, name: str, content: File) -> str:
        written.append(name)
        clock[0] += 5  # a slow disk: the check itself may take longer than its result is cached
        return save(self, name, content)

    monkeypatch.setattr(DurableFileSystemStorage, "save", counted)
    for _ in range(20):
        clock[0] += 0.3
        assert client.get("/readyz").status_code == 200
    assert len(written) == 5


def test_during_a_check_the_previous_result_is_returned_unless_it_hangs(clock: list[float]) -> None:
    checking, answer = threading.Event(), threading.Event()

    def hang() -> dict[str, str]:
        checking.set()
        assert answer.wait(20)
        return {}

    finds: list[Callable[[], dict[str, str]]] = [dict, hang]
    problems = health.CachedCheck(lambda: finds.pop(0)()).problems
    assert problems() == {}
    clock[0] += health.CACHE_SECONDS + 1
    with ThreadPoolExecutor(1) as pool:
        check = pool.submit(problems)
        assert checking.wait(20)
        assert problems() == {}
        clock[0] += health.HANGING_SECONDS
        assert problems() == {"service": "takes long to answer"}
        answer.set()
        assert check.result(timeout=20) == {}


def test_a_stopping_server_is_not_ready(client: Client, db: None) -> None:
    watchdog.draining.set()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "service": "is stopping"})
    assert client.get("/livez").status_code == 200


def test_missing_migrations_are_reported(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_is_migrated", False)
    graph = MigrationLoader(connection).graph
    [newest] = graph.leaf_nodes("inpainting")
    for key in (newest, *graph.nodes[newest].replaces):
        MigrationRecorder(connection).record_unapplied(*key)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "database": "lacks migrations"})


def test_a_storage_that_does_not_return_is_reported(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(health, "_storage_thread", ThreadPoolExecutor(1))
    monkeypatch.setattr(health, "STORAGE_SECONDS", 0.01)
    monkeypatch.setattr(health, "find_storage_problem", lambda: answer.wait(20) and "")
    try:
        assert client.get("/readyz").json() == {"status": "unavailable", "storage": "takes long to answer"}
    finally:
        answer.set()


def test_servers_that_are_away_are_named_and_the_process_stays_ready(
    client: Client, db: None, settings: Settings, clock: list[float]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://:secret@127.0.0.1:{server.getsockname()[1]}/0"
        settings.BROKER_URL = settings.CHANNEL_URL = url
        assert client.get("/readyz").json() == {"status": "ok"}
    clock[0] += health.CACHE_SECONDS
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "broker": "away", "channel_layer": "away"})
