"""Benchmarks are run by hand, so nothing else would notice that one no longer starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bare_settings

FOLDER = Path(bare_settings.__file__).parent
PROGRAMS = sorted(
    ".".join(file.relative_to(FOLDER.parent).with_suffix("").parts)
    for file in FOLDER.rglob("*.py")
    if 'if __name__ == "__main__"' in file.read_text() or file.stem == "plans"
)
"""The modules that are run, and the one that others import once they paint."""


@pytest.mark.full
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_finds_what_it_imports(program: str) -> None:
    """As from a shell, where no variable names settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    done = subprocess.run(
        [sys.executable, "-c", f"import {program}"],
        cwd=FOLDER.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
