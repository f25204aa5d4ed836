"""A limit on concurrent picture downloads for each user, since each download occupies a thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from inpainting.accounting.limits import RATE, refuse_over

RETRY_SECONDS = 2

active_fetches: Counter[int] = Counter()
"""Downloads in progress, by the primary key of the user."""
_lock = threading.Lock()


@contextmanager
def limit_concurrent_fetches(user: Any) -> Iterator[None]:
    """Count one download of the user in this process. Raises LimitReached at FETCHES_PER_USER."""
    key = int(user.pk or 0)
    with _lock:
        refuse_over(settings.FETCHES_PER_USER, active_fetches[key], "pictures fetched at a time", RATE, RETRY_SECONDS)
        active_fetches[key] += 1
    try:
        yield
    finally:
        with _lock:
            active_fetches.subtract([key])
            if not active_fetches[key]:
                del active_fetches[key]
