"""libfaketime, with which the wall clock of a process can be set; what has passed since (monotonic) stays true."""

from __future__ import annotations

from pathlib import Path

import pytest


class Clock:
    """The wall clock of the processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        """Skips the test where the library is not installed. folder: for the file that has the time."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        if library is None:
            pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
        self._file = folder / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # its name until 0.9.9
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds_fast: int) -> None:
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds_fast:+d}\n")
        written.rename(self._file)
