"""How long statements wait for the locks of SQLite, whose one writer keeps all others waiting.

Databases that lock single rows are used as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from accounts.outages import DATABASE_ERRORS, is_outage

OPTIONAL_SECONDS = 0.1
"""How long a write waits that the response can do without."""


@contextmanager
def lock_timeout(seconds: float) -> Iterator[None]:
    """Let statements of this thread wait at most so long for a lock; they raise OperationalError then."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (usual,) = cursor.fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(usual)}")


def write_unless_locked(write: Callable[[], object]) -> bool:
    """Call `write`, which the response can do without. False: the database cannot be written now.

    Call it outside of transactions: a statement that fails ends them.
    """
    try:
        with lock_timeout(OPTIONAL_SECONDS):
            write()
    except DATABASE_ERRORS as error:
        if not is_outage(error):
            raise
        return False
    return True
