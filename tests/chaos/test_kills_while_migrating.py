"""`manage.py migrate` is killed in the middle of migrations: nothing is half done, and the next call continues."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.installation import Installation

pytestmark = pytest.mark.chaos

KILLS = 4
EARLIER = ("account", "0001")
"""Of allauth: eight migrations that follow it, with the triggers that are removed before any and made after all."""
FILL = """
from django.apps import apps
from tests.support.earlier_schema import filled
for model in apps.get_app_config("inpainting").get_models():
    filled(model)
"""
SCHEMA = "SELECT type, tbl_name, name FROM sqlite_master ORDER BY type, name"
APPLIED = "SELECT app, name FROM django_migrations"


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "dreamlayer.sqlite3", timeout=20)) as database:
        return database.execute(query).fetchall()


def killed_in_the_next_migration(installation: Installation) -> bool:
    """Start to migrate, and kill that as soon as one more migration is recorded. False: it had ended before."""
    before = rows(installation.folder, APPLIED)
    command = [sys.executable, str(installation.root / "manage.py"), "migrate", "--verbosity", "0"]
    migrating = subprocess.Popen(command, env=installation.environment)
    while migrating.poll() is None and rows(installation.folder, APPLIED) == before:
        time.sleep(0.01)
    migrating.send_signal(signal.SIGKILL)
    return migrating.wait() == -signal.SIGKILL


def test_a_killed_migration_is_continued_and_loses_no_row(tmp_path: Path) -> None:
    fresh, upgraded = Installation(tmp_path / "fresh"), Installation(tmp_path / "upgraded")
    fresh.migrate()
    fill = ["shell", "--verbosity", "0", "-c", FILL]
    upgraded.manage_all([["migrate", "--verbosity", "0"], fill, ["migrate", "--verbosity", "0", *EARLIER]])
    generations = rows(upgraded.folder, "SELECT id, created_at FROM inpainting_generation")
    assert generations

    for _ in range(KILLS):
        assert killed_in_the_next_migration(upgraded)
        assert rows(upgraded.folder, "PRAGMA integrity_check") == [("ok",)]
    upgraded.manage("migrate", "--verbosity", "0")
    assert rows(upgraded.folder, "SELECT id, created_at FROM inpainting_generation") == generations
    assert rows(upgraded.folder, "PRAGMA foreign_key_check") == []
    assert rows(upgraded.folder, SCHEMA) == rows(fresh.folder, SCHEMA)
