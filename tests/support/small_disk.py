"""A small real file system that a test can fill up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import pytest

FILLER = "filler"


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """A folder on a file system of this size. Skips the test where mounting is not permitted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here, and so no small disk")
    if mounted.returncode:
        pytest.skip(f"a small disk can be mounted by root alone: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leaving_bytes: int = 0) -> None:
    """Fill the file system except for `leaving_bytes`, until `make_room`."""
    filler = folder / FILLER
    with filler.open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            file.writelines(repeat(bytes(4096)))
        file.truncate(file.tell() - leaving_bytes)


def make_room(folder: Path) -> None:
    (folder / FILLER).unlink()
