"""Limits on what a user does at the same time in this process, since each of it occupies a thread."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from inpainting.accounting.limits import RATE, refuse_over
from inpainting.api.errors import Busy, ClientLeft
from inpainting.core.sentences import sentence

RETRY_SECONDS = 2
HasLeft = Callable[[], bool]
"""Whether the client of a request has disconnected: `has_disconnected` of `later_response`."""


def is_never_gone() -> bool:
    return False


class ConcurrencyLimit:
    """Counts what is in progress.

    what: in words, for the error.
    setting: the name of the setting with the limit.
    """

    def __init__(self, what: str, setting: str) -> None:
        self.what, self.setting = what, setting
        self.active: defaultdict[int, list[HasLeft]] = defaultdict(list)
        """What is in progress, by the primary key of the user."""
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, user: Any, has_left: HasLeft = is_never_gone) -> Iterator[None]:
        """Count one more of this user. Raises LimitReached at the limit.

        has_left: then it counts no more, since it ends as soon as it can and its client has sent another request.
        """
        key = int(user.pk or 0)
        with self._lock:
            awaited = sum(not other_has_left() for other_has_left in self.active.get(key, ()))
            refuse_over(getattr(settings, self.setting), awaited, self.what, RATE, RETRY_SECONDS)
            self.active[key].append(has_left)
        try:
            yield
        finally:
            with self._lock:
                self.active[key].remove(has_left)
                if not self.active[key]:
                    del self.active[key]


limit_fetches = ConcurrencyLimit(sentence("images fetched at a time"), "FETCHES_PER_USER")
limit_segmentations = ConcurrencyLimit(sentence("objects selected at a time"), "SEGMENTATIONS_PER_USER")


class ComputingSlots:
    """Computations that run at the same time in this process.

    A slot goes to the waiting user who holds the fewest, of those to the one who got one longest ago, and then in the
    order of arrival: however many requests a user has waiting, another one is next.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self.held: Counter[int] = Counter()
        self.waiting: list[int] = []
        """The primary keys of the users who wait, by arrival; one for each request."""
        self.served: dict[int, int] = {}
        """When, by counting, a user who waits got a slot last."""
        self._changed = threading.Condition()

    @contextmanager
    def __call__(self, user: Any, has_left: HasLeft = is_never_gone) -> Iterator[None]:
        """Hold a slot. Raises Busy if there is none in WAIT_SECONDS, and ClientLeft where the client has disconnected
        by then."""
        key, until = int(user.pk or 0), time.monotonic() + WAIT_SECONDS
        with self._changed:
            self.waiting.append(key)
            try:
                while not (self.free and key == self._next()):
                    if has_left():
                        raise ClientLeft
                    if time.monotonic() >= until:
                        raise Busy
                    self._changed.wait(max(0.0, min(LOOK_SECONDS, until - time.monotonic())))
                if has_left():
                    raise ClientLeft
                self.free -= 1
                self.held[key] += 1
                self.served[key] = max(self.served.values(), default=0) + 1
            finally:
                self.waiting.remove(key)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self.free += 1
                self.held -= Counter([key])
                self.served = {user: when for user, when in self.served.items() if user in self.waiting or user == key}
                self._changed.notify_all()

    def _next(self) -> int:
        return min(self.waiting, key=lambda user: (self.held[user], self.served.get(user, 0)))


WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.1
"""How often a request that waits for its turn looks whether its client is still there."""
computing = ComputingSlots(max(1, (os.cpu_count() or 2) // 2))
"""Held while an object is selected or an image is described, each of which takes up to a few seconds, so that workers
and other requests keep a processor."""
