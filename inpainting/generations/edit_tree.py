"""Edit trees: a generation without a parent, its root, and all that continue it, directly or through others.

They are what the history shows as a photo with its steps. A tree outlives the deletion of its root.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, UUIDField, Value
from django.db.models.functions import Coalesce

from inpainting.models import Generation

TREE = Coalesce("root", "pk")
"""The id of the root of a generation's tree."""


def in_tree(pk: UUID) -> Q:
    """The condition for the generations of the tree that holds this one, itself too. It does not check the owner."""
    stored = Generation.objects.filter(pk=pk).order_by().values("root")
    root = Coalesce(Subquery(stored), Value(pk, UUIDField()))
    return Q(root=root) | Q(pk=root)


def newest_steps(found: QuerySet[Generation]) -> QuerySet[Generation]:
    """Return the newest generation of each tree among those of one owner, with the id of the root as `tree`.

    For each row one entry of the index `generation_of_tree` is read, so that a page costs no more in a longer history.
    """
    found = found.annotate(tree=TREE)
    # Not (a > x or a = x and b > y), as in pages.py. The first of a tree, which has no root, is never a later one.
    later = found.filter(root=OuterRef("tree"), owner=OuterRef("owner"), created_at__gte=OuterRef("created_at"))
    return found.filter(~Exists(later.exclude(created_at=OuterRef("created_at"), pk__lte=OuterRef("pk"))))


def steps_of(found: QuerySet[Generation], trees: list[UUID]) -> QuerySet[Generation]:
    """Return those of these trees, newest first, with the id of the root as `tree`."""
    return found.filter(Q(root__in=trees) | Q(pk__in=trees)).annotate(tree=TREE).order_by("-created_at", "-pk")
