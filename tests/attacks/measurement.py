"""Measures a server during an attack: the memory of all its processes, and the slowest page of another visitor."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Self

import psutil

from tests.support.installation import Installation

MB = 10**6
SAMPLE_SECONDS = 0.05
PAGES = ["/accounts/login/", "/livez"]
PAGE_TIMEOUT_SECONDS = 60


class Measurement:
    """Measures a running server inside a `with` block, and prints both figures at its end.

    >>> with Measurement(server) as measured:
    ...     attack()
    >>> assert measured.extra_memory < 100 * MB
    >>> assert measured.slowest_page < 5.0
    """

    def __init__(self, server: Installation) -> None:
        self.server = server
        self.idle_memory = 0
        self.peak_memory = 0
        self.slowest_page = 0.0
        """Seconds; infinite if a page could not be loaded."""
        self.pages = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._sample, self._visit)]

    @property
    def extra_memory(self) -> int:
        """Bytes above the memory of the idle server."""
        return self.peak_memory - self.idle_memory

    def __enter__(self) -> Self:
        with self._visitor() as visitor:  # The first request of a server loads templates and connects to the database.
            for page in PAGES:
                self._load(visitor, page)
        self.idle_memory = self.peak_memory = memory_of(self.server)
        self.slowest_page, self.pages = 0.0, 0
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        print(
            f"\nmemory: +{self.extra_memory / MB:.0f} MB (idle {self.idle_memory / MB:.0f} MB); "
            f"slowest of {self.pages} pages: {self.slowest_page:.2f} s"
        )

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.peak_memory = max(self.peak_memory, memory_of(self.server))

    def _visit(self) -> None:
        with self._visitor() as visitor:
            while not self._ended.is_set():
                for page in PAGES:
                    self._load(visitor, page)

    @contextmanager
    def _visitor(self) -> Iterator[HTTPConnection]:
        visitor = HTTPConnection(self.server.host, self.server.port, timeout=PAGE_TIMEOUT_SECONDS)
        try:
            yield visitor
        finally:
            visitor.close()

    def _load(self, visitor: HTTPConnection, page: str) -> None:
        started = time.monotonic()
        try:
            visitor.request("GET", page)
            response = visitor.getresponse()
            response.read()
            status = f"{response.status} {response.reason}"
        except (OSError, HTTPException) as error:
            visitor.close()  # The next request opens a new connection.
            status = repr(error)
        seconds = time.monotonic() - started
        if status != "200 OK":
            print(f"{page} after {seconds:.2f} s: {status}")
            seconds = math.inf
            self._ended.wait(SAMPLE_SECONDS)
        self.pages += 1
        self.slowest_page = max(self.slowest_page, seconds)


def memory_of(server: Installation) -> int:
    """Resident bytes of the server's processes; pages that they share count for each of them."""
    assert server.process is not None
    try:
        processes = [parent := psutil.Process(server.process.pid), *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    resident = 0
    for process in processes:
        try:
            resident += process.memory_info().rss
        except psutil.NoSuchProcess:  # It has ended since it was listed.
            continue
    return resident
