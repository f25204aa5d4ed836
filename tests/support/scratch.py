"""Temporary folders of a process, and one that all processes of a test run share."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

RUN_FOLDER = "DREAMLAYER_TEST_RUN_FOLDER"


def folder(prefix: str) -> str:
    """A new temporary folder that is removed when the process ends. Not a fixture: a process that only reads the
    settings, as pytest-xdist's controller does, needs one too."""
    path = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def run_folder() -> str:
    """The folder that `built_once` uses. pytest-xdist's workers inherit its name from the controller, which made it."""
    return os.environ.get(RUN_FOLDER) or folder("dreamlayer-test-run-")


def built_once(name: str, build: Callable[[Path], object]) -> Path:
    """The folder `name` of this test run, built by the first process that asks for it. It is copied, never changed."""
    os.environ[RUN_FOLDER] = run_folder()
    built = Path(os.environ[RUN_FOLDER]) / name
    with Path(f"{built}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            unfinished = Path(f"{built}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            build(unfinished)
            unfinished.rename(built)
    return built
