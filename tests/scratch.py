"""Folders that go when the process goes, however little of the tests it ran."""

from __future__ import annotations

import atexit
import shutil
import tempfile


def folder(prefix: str) -> str:
    """A new temporary folder. Not a fixture's: whoever only reads the settings, as pytest-xdist's controller does,
    makes one too."""
    path = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
