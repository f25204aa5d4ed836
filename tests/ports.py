"""Ports for the servers that tests start."""

from __future__ import annotations

import socket
from contextlib import suppress
from secrets import randbelow

LOWEST, COUNT = 15_000, 17_000


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, which could take it before the server does."""
    while True:
        port = LOWEST + randbelow(COUNT)  # not `random`, which begins alike in the processes of a test run
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
