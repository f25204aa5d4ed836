"""Networks converted for OpenVINO, on the disk: complete or absent, the least recently used removed.

Imports no torch: the web process removes models too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = ".openvino"
"""A folder in that of all models: no slug begins with a full stop."""
MANIFEST, STAGING, LOCK = "files.json", ".coming-", "lock"


class NetworkStore:
    """Folders of networks, `slug/name`, shared by all processes of a machine.

    budget_bytes: maximum total size.
    """

    def __init__(self, models_dir: Path, budget_bytes: int) -> None:
        self.root = models_dir / FOLDER
        self.budget_bytes = budget_bytes

    def folder(self, slug: str, name: str) -> Path:
        return self.root / slug / name

    def use(self, folder: Path) -> bool:
        """Return whether a folder holds all files as they were written; marks it as used. A damaged folder is
        removed."""
        try:
            written = json.loads((folder / MANIFEST).read_text())
            is_complete = all(sha256_file(folder / name) == digest for name, digest in written.items())
        except FileNotFoundError:
            is_complete = False
        except (OSError, ValueError, AttributeError) as error:
            logger.warning("%s cannot be read: %s", folder, error)
            is_complete = False
        if is_complete:
            os.utime(folder / MANIFEST)
        elif folder.is_dir():
            logger.warning("The converted network in %s is damaged; it will be converted again", folder)
            shutil.rmtree(folder, ignore_errors=True)
        return is_complete

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the lock for conversions: one takes as much memory as the model. Removes what aborted ones left behind.

        Yields the descriptor of the lock, for a child process that must keep it should this process die.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.root / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in self.root.glob(f"{STAGING}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield lock.fileno()

    @contextmanager
    def stage_folder(self, folder: Path) -> Iterator[Path]:
        """Yield a folder to write into, which then becomes `folder` at once. Requires the lock."""
        with tempfile.TemporaryDirectory(dir=self.root, prefix=STAGING, ignore_cleanup_errors=True) as scratch:
            staging = Path(scratch, "files")
            staging.mkdir()
            yield staging
            written = {path.name: sha256_file(path) for path in sorted(staging.iterdir())}
            (staging / MANIFEST).write_text(json.dumps(written))
            for path in [*staging.iterdir(), staging]:
                sync(path)
            folder.parent.mkdir(exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            staging.rename(folder)

    def evict(self, *, keep: set[Path]) -> None:
        """Remove the least recently used folders, but those to keep, until the rest is within the budget."""
        manifests = sorted(self.root.glob(f"*/*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
        sizes = {path.parent: folder_size(path.parent) for path in manifests}
        used = sum(sizes.values())
        for folder, size in sizes.items():
            if used <= self.budget_bytes:
                return
            if folder not in keep:
                logger.info("Removing %s, the least recently used converted network", folder)
                shutil.rmtree(folder, ignore_errors=True)
                used -= size


def remove(models_dir: Path, slug: str) -> None:
    """Remove all networks converted from a model. Generations that use them have the files open."""
    shutil.rmtree(models_dir / FOLDER / slug, ignore_errors=True)


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
