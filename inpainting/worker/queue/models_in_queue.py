"""The different models of the work in a queue, at a cost that does not grow with the number of rows."""

from __future__ import annotations

from django.db import connection

from inpainting.database.fair_tags import model_in
from inpainting.engines.base import Queue
from inpainting.models import Status

MODELS = """
    WITH RECURSIVE found(model) AS (
        SELECT (
            SELECT model FROM {table} WHERE finished_at IS NULL AND queue = %(queue)s AND status = %(status)s
            ORDER BY model LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT model FROM {table} WHERE finished_at IS NULL AND queue = %(queue)s AND status = %(status)s
            AND model > found.model ORDER BY model LIMIT 1
        ) FROM found WHERE found.model IS NOT NULL
    )
    SELECT model FROM found WHERE model IS NOT NULL LIMIT %(most)s
"""
"""A loose index scan, one access for each model: https://wiki.postgresql.org/wiki/Loose_indexscan"""


def models_in(queue: Queue, status: Status, *, limit: int = 1000) -> list[str]:
    """Return the different models of what waits or runs in a queue, in their order; "" for engines without models.

    limit: of how many are looked for.
    """
    table = connection.ops.quote_name(model_in(queue)._meta.db_table)
    with connection.cursor() as cursor:
        values = {"queue": queue.value, "status": status.value, "most": limit}
        cursor.execute(MODELS.format(table=table), values)
        return [model for (model,) in cursor.fetchall()]
