"""Ports for the servers that tests start."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from secrets import randbelow

LOWEST, COUNT = 15_000, 17_000
taken: set[int] = set()
"""The ports that this process has got."""


def free_port() -> int:
    """A port that is given to no other test process of this machine while this one runs, whether or not a server
    listens on it yet. It is below those that the system gives to outgoing connections."""
    while True:
        port = LOWEST + randbelow(COUNT)  # not `random`, which begins alike in the processes of a test run
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            fcntl.lockf(locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)  # refused where another process holds it
            if port not in taken:
                taken.add(port)
                return port


@cache
def locks() -> int:
    """An open file for all test processes of the user. Each locks the bytes at its ports, until it ends (fcntl(2))."""
    path = Path(tempfile.gettempdir()) / f"dreamlayer-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
