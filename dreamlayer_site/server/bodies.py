"""Request bodies on disk, counted until the application has read them: all, and those of each address."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from io import FileIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from django.conf import settings

from inpainting.storage import check_free_space

FULL_SECONDS = 10
"""How long /readyz reports that a body was refused for want of space."""
CHECKED_BYTES = 2**20
"""What is written of a body between two checks of the free space."""


OLD_SECONDS = 24 * 3600
"""A file of a form that is as old was left by a process that was killed."""


class AddressFull(Exception):
    """The bodies of one address take as much as they may."""


class UnreadBodies:
    """The bytes of the bodies on disk that the application has not read yet.

    All together take up to settings.UNREAD_BODY_BYTES, those of one address half of it. Bodies of senders who are not
    known yet take up to half of it, and a quarter from one address, so that they leave room for those who are.
    """

    def __init__(self) -> None:
        self.total = self.of_strangers = 0
        self.per_address: Counter[str] = Counter()
        self._full_at = float("-inf")
        self._changing = threading.RLock()  # A garbage collection, in any thread, may close a body.

    def add(self, count: int, *, address: str, known: bool) -> None:
        """Count bytes before they are written. Raises AddressFull, and OSError where all bodies take too much."""
        limit = settings.UNREAD_BODY_BYTES
        with self._changing:
            if self.per_address[address] + count > limit // (2 if known else 4):
                raise AddressFull
            if self.total + count > limit:
                self._full_at = time.monotonic()
                raise OSError(errno.ENOSPC, f"Bodies that were not read yet take {self.total} bytes")
            if not known and self.of_strangers + count > limit // 2:
                raise OSError(errno.ENOSPC, f"Bodies of senders who are not known take {self.of_strangers} bytes")
            self._change(count, address=address, known=known)

    def remove(self, count: int, *, address: str, known: bool) -> None:
        with self._changing:
            self._change(-count, address=address, known=known)
            if not self.per_address[address]:
                del self.per_address[address]

    def was_full(self) -> bool:
        """Return whether all bodies took too much within the last FULL_SECONDS."""
        return time.monotonic() - self._full_at < FULL_SECONDS

    def _change(self, count: int, *, address: str, known: bool) -> None:
        self.total += count
        self.of_strangers += 0 if known else count
        self.per_address[address] += count


unread_bodies = UnreadBodies()


def remove_leftovers(*, older_than_seconds: float) -> None:
    """Delete the files of forms that killed processes have left. Django deletes its own; bodies have no names."""
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        with suppress(OSError):  # Another process has deleted it, or it is a folder.
            if time.time() - path.stat().st_mtime >= older_than_seconds:
                path.unlink()


class StoredBody(FileIO):
    """The file of one body, which has no name. It is counted until it is closed.

    known: whether the sender has proven who it is.
    """

    _counted = _checked = 0

    def __init__(self, *, address: str, known: bool) -> None:
        with TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR, buffering=0) as file:
            super().__init__(os.dup(file.fileno()), "r+b")
        self.address, self.known = address, known

    def write(self, data: Any, /) -> int:
        """Write all of the data. Raises AddressFull, and OSError where there is no space."""
        rest = memoryview(data)
        if self._counted >= self._checked:
            check_free_space()
            self._checked = self._counted + CHECKED_BYTES
        unread_bodies.add(len(rest), address=self.address, known=self.known)
        self._counted += len(rest)
        while rest:  # A disk that is nearly full takes a part.
            rest = rest[super().write(rest) :]
        return self._counted

    def close(self) -> None:
        super().close()
        if self._counted:
            unread_bodies.remove(self._counted, address=self.address, known=self.known)
            self._counted = 0
