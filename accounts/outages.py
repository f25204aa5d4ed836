"""Which errors mean an outage of the database, after which the same may succeed, and not a fault of the program.

The one place that decides it: for requests, for workers and for what a response can do without.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, InternalError, OperationalError

DATABASE_ERRORS = (DatabaseError, InterfaceError)
"""The classes of all errors of a database; InterfaceError is not one of DatabaseError's."""
READ_ONLY_TRANSACTION = "25006"
"""The SQLSTATE of a statement that writes, on a server that is a standby or has become read-only."""
LIMITS = "54"
"""The class of the SQLSTATEs of a statement that is too large for the server, which it meets again."""


def is_outage(error: BaseException) -> bool:
    """Return whether a database is away, locked or cannot be written, rather than unable to run a statement.

    On PostgreSQL, Django raises OperationalError for lost and refused connections (08), a server that stops, starts or
    is promoted (57P01 to 57P03), conflicts of transactions (40001, 40P01) and a lack of resources (53), and
    InternalError for a server that is read-only (25006):
    https://www.postgresql.org/docs/current/errcodes-appendix.html. SQLite has the class OperationalError also for
    statements that cannot be run, and a result code for each.
    """
    raised = error.__cause__  # the database driver's exception
    sqlstate = getattr(raised, "sqlstate", None) or ""
    if isinstance(error, OperationalError | InterfaceError):
        return getattr(raised, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR and not sqlstate.startswith(LIMITS)
    return isinstance(error, InternalError) and sqlstate == READ_ONLY_TRANSACTION


def watch_connection(connection: Any, **kwargs: Any) -> None:
    """Replace the connections to a server that has become read-only; a receiver of Django's `connection_created`."""
    if connection.vendor == "postgresql" and replace_read_only not in connection.execute_wrappers:
        connection.execute_wrappers.append(replace_read_only)


def replace_read_only(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Run a statement; where the server refuses it as read-only, have the pool connect anew from now on.

    After a failover the open connections may lead to the former primary, which still answers.
    """
    try:
        return execute(sql, params, many, context)
    except InternalError as error:
        pool = context["connection"].pool
        if pool is not None and is_outage(error):
            pool.drain()
        raise
