"""Delete generations from the history so that their owner can undo it for half a minute.

They are hidden at once, as if they were deleted. Rows and files are deleted afterwards, by the poller; until then they
count as stored.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from inpainting.database.leases import seconds_from_now
from inpainting.generations import history
from inpainting.generations.delete import delete_ended
from inpainting.models import Generation, PeriodicJob
from inpainting.models.queued_work import ENDED
from inpainting.worker import own_threads

UNDO_SECONDS = 30
GRACE_SECONDS = 5
"""Between the end of that time and the deletion, so that no generation is restored and deleted at once."""
MAX_DELETED_PER_PURGE = 20
"""Keeps a purge shorter than PURGE_SECONDS."""
PURGE = "purge"
"""The name of the periodic job."""
PURGE_SECONDS = 60.0
"""When another process may go on if the one that purges has died."""


def hide(user: Any, pks: Collection[UUID]) -> int:
    """Delete these generations of the user, which `restore` undoes. Live ones are cancelled. Returns their number."""
    own = history.for_user(user).filter(pk__in=pks)
    for generation in own.exclude(status__in=ENDED):
        generation.cancel()
    return own.order_by().update(deleted_at=Now())


def restore(user: Any, pks: Collection[UUID]) -> int:
    """Undo `hide` for those of these generations that were deleted in the last UNDO_SECONDS. Returns their number."""
    return recently_deleted(user).filter(pk__in=pks).update(deleted_at=None)


def recently_deleted(user: Any) -> QuerySet[Generation]:
    """The user's generations whose deletion can be undone."""
    # Not by the index of owners, which SQLite would read as a whole, but by that of deleted ones.
    recent = Generation.objects.filter(deleted_at__gt=seconds_from_now(-UNDO_SECONDS))
    return recent.alias(owner_key=F("owner") + 0).filter(owner_key=user.pk).order_by("-deleted_at")


def purge_if_due() -> bool:
    """Start `purge` on a thread in the one process that claims it. Whether it is this one."""
    if claimed := PeriodicJob.claim(PURGE, seconds=PURGE_SECONDS):
        own_threads.start(PURGE, purge, at_most=1)
    return claimed


def purge() -> None:
    """Delete some of the generations whose deletion can no longer be undone, with their files; release the claim."""
    try:
        for pk in hidden_too_long().values_list("pk", flat=True)[:MAX_DELETED_PER_PURGE]:
            delete_ended(pk)
    finally:
        PeriodicJob.release(PURGE)


def hidden_too_long() -> QuerySet[Generation]:
    """The generations whose deletion can no longer be undone, except those that still run."""
    too_late = seconds_from_now(-UNDO_SECONDS - GRACE_SECONDS)
    return Generation.objects.filter(deleted_at__lt=too_late, status__in=ENDED).order_by("deleted_at")
