"""Password hashing on few threads, with a bounded queue, so that many sign-ins at once take little memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

MAX_WAITING = 32
"""Hashes that may wait for a processor; each holds a thread of the server."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class HashingBusy(Exception):
    """More passwords are being hashed than the server can queue."""


class HashingThreads:
    """Runs at most `threads` hashes at a time and lets `max_waiting` wait.

    Dedicated threads, because the C library reuses memory that a thread has freed only in the same thread.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._free = threading.BoundedSemaphore(threads + max_waiting)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")

    def run(self, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """Return the result of `work`. Raises HashingBusy at once if `max_waiting` others are already waiting."""
        if not self._free.acquire(blocking=False):
            raise HashingBusy
        try:
            return self._threads.submit(work, *arguments, **named).result()
        finally:
            self._free.release()


threads = HashingThreads(max(1, (os.cpu_count() or 1) - 1), MAX_WAITING)  # one processor is left for pages


class LimitedArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB, two passes and one lane, as the OWASP Password Storage Cheat Sheet recommends.

    A hash with other parameters is verified with these, and replaced at the next sign-in.
    """

    time_cost = 2
    memory_cost = 19_456  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        return threads.run(super().encode, password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        return threads.run(super().verify, password, encoded)
