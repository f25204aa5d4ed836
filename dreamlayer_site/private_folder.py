"""The data folder: its owner alone may read it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

OTHERS = 0o077
"""The permissions of everybody but the owner."""


def make_private(folder: Path) -> None:
    """Create the folder, or take it and the files directly in it from all but their owner.

    Folders in it, of models for example, cannot be reached by others then.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in [folder, *folder.iterdir()]:
        # OSError: the file was deleted meanwhile, belongs to another user, or is on a read-only file system.
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & OTHERS and (path == folder or path.is_file()) and not path.is_symlink():
                path.chmod(mode & ~OTHERS & 0o7777)
