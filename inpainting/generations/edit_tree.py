"""Edit trees: a generation, its parent, and so on up to the root, with all descendants of the root."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.models.expressions import RawSQL

from inpainting.models import Generation

# UNION drops rows that were found before, so the recursion ends on any data.
TREE = """
WITH RECURSIVE ancestor(id, parent_id) AS (
    SELECT id, parent_id FROM {table} WHERE id = %s
    UNION
    SELECT above.id, above.parent_id FROM {table} above JOIN ancestor ON above.id = ancestor.parent_id
), member(id) AS (
    SELECT id FROM ancestor WHERE parent_id IS NULL
    UNION
    SELECT below.id FROM {table} below JOIN member ON below.parent_id = member.id
)
SELECT id FROM member
"""


def in_tree(pk: UUID) -> Q:
    """The condition for the generations of the tree that holds this one, itself too. It does not check the owner."""
    key = Generation._meta.pk.get_db_prep_value(pk, connection)
    sql = TREE.format(table=Generation._meta.db_table)  # Only the name of the table is inserted.
    return Q(pk__in=RawSQL(sql, [key]))  # noqa: S611  # nosec B611
