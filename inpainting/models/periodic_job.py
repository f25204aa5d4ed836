"""Periodic work that one process of all does at a time, such as retention."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from inpainting.database.leases import in_seconds


class PeriodicJob(models.Model):
    """A job and the time from which it may be claimed. The time is the database's."""

    name = models.CharField(max_length=40, primary_key=True)
    due_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def claim(cls, name: str, *, seconds: float) -> bool:
        """Claim the job for this process alone, for `seconds` or until `release`. False: it is not due.

        One conditional UPDATE, of which several at once succeed once.
        """
        # Read first: processes ask once a second, and on SQLite an UPDATE of no row waits for the write lock, too.
        if cls.objects.filter(name=name, due_at__gt=Now(), due_at__lte=in_seconds(2 * seconds)).exists():
            return False
        if cls._claim(name, seconds):
            return True
        PeriodicJob.objects.bulk_create([PeriodicJob(name=name)], ignore_conflicts=True)
        return cls._claim(name, seconds)

    @classmethod
    def _claim(cls, name: str, seconds: float) -> bool:
        is_due = models.Q(due_at=None) | models.Q(due_at__lte=Now())
        # No claim lasts so long: the clock was set back. Twice, since a claim may wait for another one to commit.
        clock_was_set_back = models.Q(due_at__gt=in_seconds(2 * seconds))
        due = cls.objects.filter(is_due | clock_was_set_back, name=name)
        return bool(due.update(due_at=in_seconds(seconds)))

    @classmethod
    def release(cls, name: str) -> None:
        """Let any process claim the job again at once."""
        cls.objects.filter(name=name).update(due_at=None)
