"""Files that survive a power cut: what a row names is on the disk before the row is. And how a full disk is known."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from sqlite3 import SQLITE_FULL

from django.core.files import File
from django.core.files.storage import FileSystemStorage

DISK_FULL = "53100"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class DurableFileSystemStorage(FileSystemStorage):
    """Django's files in a folder, with the file and its new name synced before `save` returns."""

    def _save(self, name: str, content: File) -> str:
        try:
            saved: str = super()._save(name, content)  # type: ignore[misc]  # the hook that Django documents
        except OSError:
            # What could not be written whole must not take the last of a full disk. Our names are random: it is ours.
            Path(self.path(name)).unlink(missing_ok=True)
            raise
        path = Path(self.path(saved))
        for synced in (path, path.parent):
            descriptor = os.open(synced, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return saved


def out_of_space(error: Exception) -> bool:
    """Whether it says that a disk, or somebody's share of it, is full: the files', SQLite's or PostgreSQL's."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    raised = error.__cause__  # by the database's own library
    return getattr(raised, "sqlite_errorcode", 0) == SQLITE_FULL or getattr(raised, "sqlstate", "") == DISK_FULL
