"""Faults that `serve` meets at its start are one line, and end it where starting again cannot help.

`tests/attacks/test_damaged_database.py` tries them with real servers.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from dreamlayer_site import start_problems as module
from dreamlayer_site.server.supervisor import INVALID_SETTINGS
from dreamlayer_site.start_problems import refuse_missing_file, start_problems


@pytest.fixture
def path(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of an SQLite database that does not exist yet."""
    if connection.vendor != "sqlite":
        pytest.skip("other databases have servers that report their own faults")
    path = tmp_path / "dreamlayer.sqlite3"
    other = connection.copy()
    other.settings_dict = {**connection.settings_dict, "NAME": str(path)}
    other.inc_thread_sharing()
    monkeypatch.setattr(module, "connection", other)
    yield path
    other.close()


def connection_of_start() -> BaseDatabaseWrapper:
    connection: BaseDatabaseWrapper = vars(module)["connection"]
    return connection


def ends_with() -> CommandError:
    with pytest.raises(CommandError) as raised, start_problems(), connection_of_start().cursor() as cursor:
        cursor.execute("SELECT 1 FROM inpainting_generation")
    assert "\n" not in str(raised.value)
    return raised.value


def test_a_missing_database_is_not_made_anew(path: Path) -> None:
    with pytest.raises(CommandError) as raised:
        refuse_missing_file()
    error = raised.value
    assert str(error).startswith(f"There is no database {path}.")
    assert error.returncode == INVALID_SETTINGS
    assert not path.exists()


@pytest.mark.parametrize(("content", "message"), [(b"", "lacks migrations"), (b"a photo" * 1000, "is damaged")])
def test_a_database_that_cannot_be_used_ends_the_server(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    error = ends_with()
    assert message in str(error)
    assert error.returncode == INVALID_SETTINGS


def test_a_locked_database_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection_of_start().settings_dict["OPTIONS"], "timeout", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE inpainting_generation (id)")
    other.execute("BEGIN EXCLUSIVE")
    error = ends_with()
    other.close()
    assert "does not answer (database is locked)" in str(error)
    assert error.returncode == 1


@pytest.mark.parametrize("is_full", [True, False])
def test_a_full_disk_is_named_and_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool) -> None:
    path.touch()
    monkeypatch.setattr(module, "is_full", lambda: is_full)
    fault, raised = OperationalError("disk I/O error"), sqlite3.OperationalError()
    raised.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    fault.__cause__ = raised
    for error, is_named in ((fault, is_full), (OSError(errno.ENOSPC, "No space left on device"), True)):
        with pytest.raises(CommandError) as found, start_problems():
            raise error
        assert ("No space is left" in str(found.value)) == is_named
        assert found.value.returncode == 1


def test_an_error_of_the_program_keeps_its_traceback(path: Path) -> None:
    path.touch()
    with pytest.raises(FileExistsError), start_problems():
        raise FileExistsError("here already")
