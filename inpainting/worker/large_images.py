"""One large image is painted at a time: painting most of 40 megapixels takes about a gigabyte."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LARGE_PIXELS = 8_000_000
"""Smaller images take at most a fifth of the memory, and are not limited."""
POLL_SECONDS = 1.0

_painting = threading.Lock()


@contextmanager
def one_at_a_time(pixels: int, on_wait: Callable[[], None]) -> Iterator[None]:
    """Wait until no other thread of this process paints a large image, if this one is large.

    on_wait: called every second; an exception from it ends the wait.
    """
    if pixels < LARGE_PIXELS:
        yield
        return
    while not _painting.acquire(timeout=POLL_SECONDS):
        on_wait()
    try:
        yield
    finally:
        _painting.release()
