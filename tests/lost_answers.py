"""A database that commits and whose answer is lost on the way, as when the connection is reset just then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import OperationalError, connections


def lose_the_answer(then: Callable[[], object] = lambda: None) -> None:
    """The next commit of this thread is made, then something happens, and the commit seems to have failed."""
    connection: Any = connections["default"]
    commit = connection._commit

    def commit_unheard() -> None:
        commit()
        del vars(connection)["_commit"]
        then()
        raise OperationalError("server closed the connection unexpectedly")

    vars(connection)["_commit"] = commit_unheard
