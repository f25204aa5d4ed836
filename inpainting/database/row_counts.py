"""Counts of several query sets in one statement, for processes that look for work again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import QuerySet


def count_each(query_sets: Sequence[QuerySet[Any, Any]]) -> list[int]:
    """Return the number of rows of each query set, as `count` does. Give those that may have many rows a limit of at
    least 1."""
    counts: list[str] = []
    parameters: list[Any] = []
    for rows in query_sets:
        query = rows.values("pk").query
        query.clear_ordering()  # unless it decides which rows are within a limit
        sql, values = query.sql_with_params()
        counts.append(f"(SELECT COUNT(*) FROM ({sql}) AS found)")  # noqa: S608  # nosec B608 - of Django's compiler
        parameters += values
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(counts), parameters)
        return list(cursor.fetchone())
