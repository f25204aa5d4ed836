"""Pages of generations, newest first, that stay quick whatever the number of rows.

A page starts behind a row (keyset pagination) and no page counts the rows: both would read all rows before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet

from inpainting.models import Generation

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a row in the list, newest first."""

    created_at: datetime
    pk: UUID

    @classmethod
    def from_generation(cls, generation: Generation) -> Cursor:
        return cls(generation.created_at, generation.pk)

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Parse what `str` has made; return None for any other text."""
        microseconds, _, pk = text.partition("-")
        try:
            return cls(EPOCH + timedelta(microseconds=int(microseconds)), UUID(pk))
        except (ValueError, OverflowError):
            return None

    def __str__(self) -> str:
        return f"{(self.created_at - EPOCH) // timedelta(microseconds=1)}-{self.pk.hex}"


@dataclass(frozen=True, slots=True)
class SearchPage:
    """The rows, newest first, and the cursors of the pages beside it; None where there is none."""

    rows: list[Generation]
    newer: Cursor | None
    older: Cursor | None


def page_of(
    found: QuerySet[Generation], length: int, *, older_than: Cursor | None = None, newer_than: Cursor | None = None
) -> SearchPage:
    if newer_than is not None:
        rows = find_newer(found, newer_than)[: length + 1]
        more, kept = len(rows) > length, list(rows)[:length][::-1]
        return SearchPage(
            kept, Cursor.from_generation(kept[0]) if more else None, Cursor.from_generation(kept[-1]) if kept else None
        )
    rows = find_older(found, older_than)[: length + 1]
    more, kept = len(rows) > length, list(rows)[:length]
    return SearchPage(
        kept,
        Cursor.from_generation(kept[0]) if kept and older_than else None,
        Cursor.from_generation(kept[-1]) if more else None,
    )


def find_older(found: QuerySet[Generation], than: Cursor | None) -> QuerySet[Generation]:
    """Return older generations, the newest of them first."""
    if than is not None:
        # Not (a < x or a = x and b < y), for which SQLite reads two indexes and sorts.
        found = found.filter(created_at__lte=than.created_at).exclude(created_at=than.created_at, pk__gte=than.pk)
    return found.order_by("-created_at", "-pk")


def find_newer(found: QuerySet[Generation], than: Cursor) -> QuerySet[Generation]:
    """Return newer generations, the oldest of them first."""
    found = found.filter(created_at__gte=than.created_at).exclude(created_at=than.created_at, pk__lte=than.pk)
    return found.order_by("created_at", "pk")
