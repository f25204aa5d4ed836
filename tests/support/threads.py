"""Work on separate threads with their own database connections, as in Celery workers."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections


def with_own_connection(work: Callable[[], object]) -> None:
    """Call `work` and close the database connections that it opened on this thread.

    Since Python 3.13 a SQLite connection that is left open when its thread ends is a ResourceWarning.
    """
    try:
        work()
    finally:
        connections.close_all()
