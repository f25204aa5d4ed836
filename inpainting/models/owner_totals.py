"""What each owner has in all, kept by triggers of the database; see `inpainting.database.owner_totals`."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

from django.db import models, transaction
from django.db.models import Count, Sum

COUNTERS = (
    *("stored_bytes", "generations", "listed", "listed_succeeded", "listed_failed", "listed_cancelled"),
    *("failed", "fine", "attention", "removed", "run_milliseconds"),
)
NOTHING = dict.fromkeys(COUNTERS, 0)


def counter(help_text: str) -> models.BigIntegerField[int, int]:
    return models.BigIntegerField(default=0, db_default=0, editable=False, help_text=help_text)


class OwnerTotals(models.Model):
    """A part of the totals of one owner; those of all slots together are the totals, and one alone may be negative.

    On PostgreSQL each connection has a slot of its own, its process number: transactions of one owner would otherwise
    wait for each other, and those that lock several rows could do so for ever. `merge` makes one row of those of an
    owner. SQLite, with one writer, has one.

    The owner is no foreign key: the rows are subtracted from while the owner is being deleted.
    """

    owner_id = models.BigIntegerField(editable=False)
    slot = models.IntegerField(default=0, db_default=0, editable=False)
    stored_bytes = counter("of all stored images, without thumbnails and previews")
    generations = counter("of any state")
    listed = counter("generations of the history: neither deleted nor removed by an administrator")
    listed_succeeded = counter("those of them with this status")
    listed_failed = counter("those of them with this status")
    listed_cancelled = counter("those of them with this status")
    failed = counter("generations of any visibility")
    fine = counter("generations with this verdict")
    attention = counter("generations with this verdict")
    removed = counter("generations with this verdict")
    run_milliseconds = counter("from the start to the end of its generations")

    class Meta:
        verbose_name_plural = "totals of owners"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner_id", "slot"], name="one_total_per_owner_and_slot")
        ]

    def __str__(self) -> str:
        return f"totals of owner {self.owner_id}, slot {self.slot}"

    @classmethod
    def of(cls, owners: Collection[int]) -> dict[int, dict[str, int]]:
        """Return a mapping of each owner's primary key to the value of each counter."""
        sums = {name: Sum(name) for name in COUNTERS}
        rows = cls.objects.filter(owner_id__in=owners).order_by().values("owner_id").annotate(**sums)
        found = {row.pop("owner_id"): row for row in rows}
        return {owner: found.get(owner, NOTHING) for owner in owners}

    @classmethod
    def of_all(cls) -> dict[str, int]:
        """Return the value of each counter, of all owners together."""
        sums = cls.objects.aggregate(**{name: Sum(name) for name in COUNTERS})
        return {name: value or 0 for name, value in sums.items()}

    @classmethod
    def merge(cls) -> None:
        """Make one row of those of each owner that has several, and delete those of owners who have nothing.

        Rows that a transaction is changing are left for the next time.
        """
        several = cls.objects.order_by().values("owner_id").annotate(n=Count("pk")).filter(n__gt=1).values("owner_id")
        with transaction.atomic():
            rows = cls.objects.filter(owner_id__in=list(several.values_list("owner_id", flat=True)))
            kept: dict[int, Self] = {}
            for row in rows.select_for_update(skip_locked=True).order_by("owner_id", "pk"):
                first = kept.setdefault(row.owner_id, row)
                if first is not row:
                    for name in COUNTERS:
                        setattr(first, name, getattr(first, name) + getattr(row, name))
                    row.delete()
            for row in kept.values():
                row.save()
        with transaction.atomic():
            empty = cls.objects.filter(**NOTHING).select_for_update(skip_locked=True)
            cls.objects.filter(pk__in=[row.pk for row in empty]).delete()
