"""Few pictures are fetched from elsewhere at a time for one user: each fetch keeps a thread of ours busy."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from rest_framework.request import Request

from inpainting.accounting.limits import RATE, refuse_over

RETRY_SECONDS = 2

_under_way: Counter[int] = Counter()
_lock = threading.Lock()


@contextmanager
def one_of_few(request: Request) -> Iterator[None]:
    """One of the FETCHES_PER_USER that this process makes at a time for the caller. Raises LimitReached at once."""
    user = int(request.user.pk or 0)
    with _lock:
        refuse_over(settings.FETCHES_PER_USER, _under_way[user], "pictures fetched at a time", RATE, RETRY_SECONDS)
        _under_way[user] += 1
    try:
        yield
    finally:
        with _lock:
            _under_way.subtract([user])
            if not _under_way[user]:
                del _under_way[user]
