"""Converted networks on the disk: named by what they were made from, whole or not at all, the least used removed.

Light to import: who removes a model needs no torch.
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
"""Beside the models: no slug begins with a full stop."""
MANIFEST, COMING, LOCK = "files.json", ".coming-", "lock"


class Store:
    """Folders of networks, `slug/name`, for all processes of a machine. budget_bytes: what they may take together."""

    def __init__(self, models_dir: Path, budget_bytes: int) -> None:
        self.home = models_dir / FOLDER
        self.budget_bytes = budget_bytes

    def place(self, slug: str, name: str) -> Path:
        return self.home / slug / name

    def find(self, place: Path) -> bool:
        """Whether a folder's files are there as they were written; it counts as used then. Damaged ones go."""
        try:
            written = json.loads((place / MANIFEST).read_text())
            whole = all(digest_of(place / name) == digest for name, digest in written.items())
        except FileNotFoundError:
            whole = False
        except (OSError, ValueError, AttributeError) as error:
            logger.warning("%s cannot be read: %s", place, error)
            whole = False
        if whole:
            os.utime(place / MANIFEST)
        elif place.is_dir():
            logger.warning("The converted network in %s is damaged; it is made again", place)
            shutil.rmtree(place, ignore_errors=True)
        return whole

    @contextmanager
    def alone(self) -> Iterator[int]:
        """One conversion at a time on the machine: it takes as much memory as the model. What others left goes.

        Gives the descriptor that keeps others out, for a process that goes on should this one die.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.home / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for rest in self.home.glob(f"{COMING}*"):
                shutil.rmtree(rest, ignore_errors=True)
            yield lock.fileno()

    @contextmanager
    def coming(self, place: Path) -> Iterator[Path]:
        """A folder to write into, which becomes `place` in one moment. For who is `alone`."""
        with tempfile.TemporaryDirectory(dir=self.home, prefix=COMING, ignore_cleanup_errors=True) as scratch:
            draft = Path(scratch, "files")
            draft.mkdir()
            yield draft
            written = {path.name: digest_of(path) for path in sorted(draft.iterdir())}
            (draft / MANIFEST).write_text(json.dumps(written))
            for path in [*draft.iterdir(), draft]:
                sync(path)
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)

    def make_room(self, *, keep: set[Path]) -> None:
        """Remove the least used folders until the rest, with those to be kept, is within the budget."""
        places = sorted(self.home.glob(f"*/*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
        sizes = {path.parent: size_of(path.parent) for path in places}
        used = sum(sizes.values())
        for place, size in sizes.items():
            if used <= self.budget_bytes:
                return
            if place not in keep:
                logger.info("Removing %s, the least used of the converted networks", place)
                shutil.rmtree(place, ignore_errors=True)
                used -= size


def forget(models_dir: Path, slug: str) -> None:
    """Remove what was made from a model. Who paints with it is not disturbed: the files stay open."""
    shutil.rmtree(models_dir / FOLDER / slug, ignore_errors=True)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
