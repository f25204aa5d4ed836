"""A database that another connection has locked for writing, as SQLite is during every transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection


def shorten_lock_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite give up on locks after a moment, on this connection and later ones."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)
    connection.close()


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the write lock of SQLite; in WAL mode, others can read meanwhile."""
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        lock.close()
