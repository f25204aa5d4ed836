"""File storage that syncs files to disk before the row that names them is committed; full and nearly full disks."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage
from sqlite3 import SQLITE_FULL

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, default_storage

RESERVED_SHARE = 0.1
"""Largest share of a file system that `settings.FREE_SPACE_MB` reserves."""
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a file system that is mounted read-only, or of a folder without write permission."""
DISK_FULL = "53100"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class StorageUnavailable(OSError):
    """A bucket that does not answer, or forbids what was asked: the same may succeed later."""


class ImageStorage(Storage):
    """A storage that lists all its files."""

    @abstractmethod
    def names_and_sizes(self) -> Iterator[tuple[str, int]]:
        """The name and the size in bytes of each file; files that are deleted meanwhile may be left out."""


class DurableFileSystemStorage(ImageStorage, FileSystemStorage):
    """FileSystemStorage whose `save` returns after the file and its directory entry are synced to disk."""

    def names_and_sizes(self) -> Iterator[tuple[str, int]]:
        for folder, _, names in os.walk(self.location, followlinks=True):
            for path in (Path(folder, name) for name in names):
                try:
                    yield path.relative_to(self.location).as_posix(), path.stat().st_size
                except FileNotFoundError:  # deleted meanwhile
                    continue

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


def is_nearly_full() -> bool:
    """Whether a disk has less free space than FREE_SPACE_MB: of the images, the data folder, or bodies that arrive.

    On a small disk, less than a tenth of it.
    """
    folders = [settings.DATA_DIR, Path(settings.FILE_UPLOAD_TEMP_DIR)]
    if isinstance(default_storage, FileSystemStorage):
        folders.append(Path(default_storage.location))
    for folder in folders:
        usage = disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
        if usage.free < min(settings.FREE_SPACE_MB * 2**20, RESERVED_SHARE * usage.total):
            return True
    return False


def check_free_space() -> None:
    """Raise the OSError of a full disk if one is nearly full: running generations need the rest for their results."""
    if is_nearly_full():
        raise OSError(errno.ENOSPC, "Less free space than DREAMLAYER_FREE_SPACE_MB")
