"""Threads that handle one request after another, so that their connections to the database stay open.

Django's ASGI handler makes a thread for each request, in which the request opens a connection anew: its set-up, and
statements that it has not executed before, take longer than a short request otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

KEPT_IDLE = 8


class RequestThreads:
    """The threads of one event loop: as many as there are requests at once, of which KEPT_IDLE stay."""

    def __init__(self) -> None:
        self._idle: list[ThreadSensitiveContext] = []

    @contextmanager
    def use_thread(self) -> Iterator[None]:
        """Reserve a thread for the context, in which `sync_to_async` and Django's handler use one of the threads, which
        no other request uses."""
        thread = self._idle.pop() if self._idle else ThreadSensitiveContext()
        token = SyncToAsync.thread_sensitive_context.set(thread)
        try:
            yield
        finally:
            SyncToAsync.thread_sensitive_context.reset(token)
            if len(self._idle) < KEPT_IDLE:
                self._idle.append(thread)
            elif (executor := SyncToAsync.context_to_thread_executor.pop(thread, None)) is not None:
                executor.submit(connections.close_all)
                executor.shutdown(wait=False)


request_threads = RequestThreads()
"""Those of this process: a head is checked on a thread that handles requests otherwise."""
