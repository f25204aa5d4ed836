"""Files that survive a power cut: what a row names is on the disk before the row is."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.files import File
from django.core.files.storage import FileSystemStorage


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
