"""File storage that syncs files to disk before the row that names them is committed, and detection of full disks."""

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
    """FileSystemStorage whose `save` returns after the file and its directory entry are synced to disk."""

    def _save(self, name: str, content: File) -> str:
        try:
            saved: str = super()._save(name, content)  # type: ignore[misc]  # the hook that Django documents
        except OSError:
            # Remove the partial file, which would fill the disk. Names are random, so no other file has this name.
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
    """Return whether an error means that a disk or quota is full: of the file system, SQLite or PostgreSQL."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    raised = error.__cause__  # the database driver's exception
    return getattr(raised, "sqlite_errorcode", 0) == SQLITE_FULL or getattr(raised, "sqlstate", "") == DISK_FULL
