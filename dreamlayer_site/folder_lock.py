"""The lock of a data folder, which one server holds at a time."""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path
from typing import IO

from django.core.management.base import CommandError

from dreamlayer_site.server import supervisor
from inpainting.storage import NOT_WRITABLE

LOCK_TIMEOUT_SECONDS = supervisor.STOP_SECONDS + 5
"""A server that stops holds the lock for as long."""


def lock_data_folder(folder: Path, *, wait_seconds: float = LOCK_TIMEOUT_SECONDS) -> IO[str]:
    """Lock the folder while the returned file is open: two servers on one folder would run every generation twice.

    Raises CommandError if another server still uses it after `wait_seconds`.
    """
    try:
        lock = open(folder / "serve.lock", "w")  # noqa: SIM115 - its caller closes it
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        message = f"The data folder {folder} cannot be written: {error.strerror}."
        raise CommandError(message, returncode=supervisor.INVALID_SETTINGS) from error
    started = time.monotonic()
    has_warned = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            waited = time.monotonic() - started
            if waited > wait_seconds:
                lock.close()
                message = f"Another server uses {folder}; stop it or set DREAMLAYER_DATA_DIR."
                raise CommandError(message, returncode=supervisor.INVALID_SETTINGS) from None
            if waited > 1 and not has_warned:
                has_warned = True
                print(f"Another server uses {folder}; waiting until it stops.", file=sys.stderr, flush=True)
            time.sleep(0.2)
