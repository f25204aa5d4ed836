"""Periodic work that one process of all does at a time, such as retention."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from inpainting.database.leases import seconds_from_now


class PeriodicJob(models.Model):
    """A job and the time from which it may be claimed. The time is the database's."""

    name = models.CharField(max_length=40, primary_key=True)
    due_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def claim(cls, name: str, *, seconds: float) -> bool:
        """Claim the job for this process alone, for `seconds` or until `release`. False: it is not due.

        One conditional UPDATE, of which several at once succeed once. Ask `due` before, where that is often: on SQLite,
        an UPDATE of no row waits for the write lock, too.
        """
        due = cls.due(name, seconds=seconds)
        if due.update(due_at=seconds_from_now(seconds)):
            return True
        cls.add(name)
        return bool(due.update(due_at=seconds_from_now(seconds)))

    @classmethod
    def add(cls, name: str) -> None:
        """Add the job, which is due at once, unless there is one of the name."""
        PeriodicJob.objects.bulk_create([PeriodicJob(name=name)], ignore_conflicts=True)

    @classmethod
    def due(cls, name: str, *, seconds: float) -> models.QuerySet[PeriodicJob]:
        """Return the job if it is due; no row if it is not, or was never added. seconds: those of its claims."""
        is_due = models.Q(due_at=None) | models.Q(due_at__lte=Now())
        # No claim lasts so long: the clock was set back. Twice, since a claim may wait for another one to commit.
        clock_was_set_back = models.Q(due_at__gt=seconds_from_now(2 * seconds))
        return cls.objects.filter(is_due | clock_was_set_back, name=name)

    @classmethod
    def release(cls, name: str) -> None:
        """Let any process claim the job again at once."""
        cls.objects.filter(name=name).update(due_at=None)
