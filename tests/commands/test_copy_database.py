"""`manage.py copy_database`: every row of SQLite arrives in PostgreSQL, and the server continues there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from dreamlayer_site import database_copy
from dreamlayer_site.database_copy import CopyRefused
from dreamlayer_site.folder_lock import lock_data_folder
from dreamlayer_site.service_urls import database_settings
from tests.support import postgres
from tests.support.installation import Installation


def dump(installation: Installation) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(installation.manage("dumpdata", "--all"))
    return sorted(rows, key=lambda row: (str(row["model"]), str(row["pk"])))


@pytest.mark.full
def test_every_row_is_copied_and_the_server_continues_on_postgresql(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    old = Installation(tmp_path)
    key = old.migrate_with_key()
    with old.serving():
        bodies = [old.img2img(key, photo_png, mask_png)[1] for _ in range(2)]
    before = dump(old)
    assert {row["model"] for row in before} >= {"inpainting.generation", "inpainting.sourceimage", "accounts.apikey"}

    new = Installation(tmp_path, DREAMLAYER_DATABASE_URL=postgres.start())
    with pytest.raises(AssertionError, match="run “migrate” first"):
        new.manage("copy_database")
    new.manage("migrate", "--verbosity", "0")
    assert new.manage("copy_database").startswith(f"Copied {len(before)} rows")
    assert dump(new) == before
    with pytest.raises(AssertionError, match="has users already"):
        new.manage("copy_database")
    with new.serving():
        assert b'"succeeded"' in new.get(f"/api/generations/{bodies[0]['id']}/", key=key)[1]
        assert new.img2img(key, photo_png, mask_png)[0] == 200  # the sequences go on after the copied keys


def test_a_source_that_is_missing_or_the_target_itself_is_refused(settings: object, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no database at"):
        call_command("copy_database", "--from", f"sqlite:///{tmp_path / 'none.sqlite3'}")
    assert not (tmp_path / "none.sqlite3").exists()
    with pytest.raises(CommandError, match="Source and target are the same"):
        call_command("copy_database", "--from", settings.DATABASE_URL)  # type: ignore[attr-defined]


def test_a_source_in_use_by_a_server_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "dreamlayer.sqlite3"
    source.touch()
    with lock_data_folder(tmp_path), pytest.raises(CommandError, match="Another server uses"):
        call_command("copy_database", "--from", f"sqlite:///{source}")


def test_a_source_on_postgresql_with_other_sessions_is_refused(
    django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    url = postgres.start()
    monkeypatch.setitem(connections.databases, database_copy.SOURCE, {})
    database_copy.connect_source(database_settings(url, connections=2))
    with django_db_blocker.unblock():
        try:
            database_copy.check_is_unused()
            with psycopg.connect(url), pytest.raises(CopyRefused, match="1 other sessions use the source"):
                database_copy.check_is_unused()
        finally:
            connections[database_copy.SOURCE].close()
            connections[database_copy.SOURCE].close_pool()  # type: ignore[attr-defined]
            del connections[database_copy.SOURCE]


def test_databases_of_different_versions_are_refused(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    applied = iter([{("inpainting", "0001"): None}, {("inpainting", "0001"): None, ("inpainting", "0002"): None}])
    monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda self: next(applied))
    monkeypatch.setattr(database_copy, "connections", {"source": None, "default": None})
    with pytest.raises(CopyRefused, match=r"one of the two databases only: inpainting\.0002"):
        database_copy.check_migrations()
