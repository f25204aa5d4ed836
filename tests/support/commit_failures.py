"""A database that commits but whose reply is lost, as when the connection is reset at that moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import OperationalError, connections


def lose_the_commit_reply(then: Callable[[], object] = lambda: None) -> None:
    """Let the next commit of this thread succeed, call `then`, and raise as if the commit had failed."""
    connection: Any = connections["default"]
    commit = connection.commit

    def commit_and_fail() -> None:
        commit()
        del vars(connection)["commit"]
        then()
        raise OperationalError("server closed the connection unexpectedly")

    vars(connection)["commit"] = commit_and_fail
