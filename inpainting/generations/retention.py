"""Apply retention: delete generations, webhooks, batches and drafts past the owner's or the site's limit."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.db import DatabaseCache
from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.erasure import truncate_write_ahead_log
from inpainting.accounting.limits import prune_ledger
from inpainting.generations import drafts, stacks
from inpainting.generations.delete import delete_ended
from inpainting.generations.search import fold_earlier
from inpainting.models import (
    Analysis,
    Batch,
    DeliveryState,
    Draft,
    Generation,
    OwnerTotals,
    PeriodicJob,
    Retention,
    Share,
    StackShare,
    UploadedImage,
    WebhookDelivery,
    WebhookPause,
)
from inpainting.models.queued_work import ENDED
from inpainting.models.undeleted_file import delete_remembered_files
from inpainting.worker import own_threads

logger = logging.getLogger(__name__)

SWEEP_EVERY_SECONDS = 3600.0
SWEEP = "retention"
"""The name of the periodic job."""
MAX_DELETED_PER_SWEEP = 50
"""Keeps a sweep short, so that a process that stops need not wait for it."""


def due_sweep() -> QuerySet[PeriodicJob]:
    """The job of the sweep, if it is due and was added."""
    return PeriodicJob.due(SWEEP, seconds=SWEEP_EVERY_SECONDS)


def sweep_if_due() -> bool:
    """Start a sweep on a thread in the one process that claims it; it is due again until nothing expired is left.

    Whether it is this process.
    """
    if claimed := PeriodicJob.claim(SWEEP, seconds=SWEEP_EVERY_SECONDS):
        own_threads.start(SWEEP, sweep_and_release, at_most=1)
    return claimed


def sweep_and_release() -> None:
    """Sweep once, and release the claim unless nothing expired is left."""
    if not sweep(timezone.now()):
        PeriodicJob.release(SWEEP)


def sweep(now: datetime, *, at_most: int = MAX_DELETED_PER_SWEEP) -> bool:
    """Delete expired rows, about `at_most` of each kind, with their files; and files whose deletion failed. Empty
    SQLite's log, which may have had a reader when an account was deleted.

    True if none is left.

    Applies the site's rule, each user's own and the generation's `expires_at`, so the shortest of them takes effect.
    """
    prune_ledger(now)
    WebhookPause.prune(now)
    deleted = 0
    for retention in Retention.objects.exclude(days=None):
        too_old = too_old_after(retention.days, retention.user_id, now=now).order_by("finished_at")
        deleted += sum(delete_ended(pk) for pk in too_old.values_list("pk", flat=True)[:at_most])
        if deleted >= at_most:
            break
        before, owner = now - timedelta(days=retention.days or 0), owner_condition(retention.user_id)
        WebhookDelivery.objects.filter(owner, created_at__lt=before).exclude(state=DeliveryState.PENDING).delete()
        Batch.emptied(before=before).filter(owner).delete()
        for draft in Draft.objects.filter(owner, saved_at__lt=before).exclude(document=""):
            drafts.empty(get_user_model().reference(draft.owner_id))
    expired = Generation.objects.filter(status__in=ENDED, expires_at__lt=now).order_by("expires_at")
    deleted += sum(delete_ended(pk) for pk in expired.values_list("pk", flat=True)[:at_most])
    is_done = deleted < at_most
    ended = Analysis.objects.filter(status__in=ENDED, expires_at__lt=now)
    for rows in (ended, *(model.objects.filter(expires_at__lt=now) for model in (UploadedImage, Share, StackShare))):
        keys = list(rows.order_by("expires_at").values_list("pk", flat=True)[:at_most])
        rows.model._default_manager.filter(pk__in=keys).delete()
        is_done = is_done and len(keys) < at_most
    drafts.delete_unnamed(now)
    stacks.delete_unnamed_masks(now)
    delete_expired_counters()
    OwnerTotals.merge()
    truncate_write_ahead_log()
    if deleted:
        logger.info("Deleted %d expired generations", deleted)
    is_done = fold_earlier() and is_done
    return delete_remembered_files() and is_done


def delete_expired_counters() -> None:
    """Delete expired rows of the cache's table, which Django counts whenever it stores one."""
    counters = caches[DEFAULT_CACHE_ALIAS]
    if isinstance(counters, DatabaseCache):
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(counters._table)  # type: ignore[attr-defined]  # of BaseDatabaseCache
            sql = f"DELETE FROM {table} WHERE expires < CURRENT_TIMESTAMP"  # noqa: S608 - a name of ours  # nosec B608
            cursor.execute(sql)


def too_old_after(days: int | None, user: Any, *, now: datetime) -> QuerySet[Generation]:
    """Generations of a user, or with None of all users, that ended more than `days` ago. Empty for days of None."""
    if days is None:
        return Generation.objects.none()
    return Generation.objects.filter(
        owner_condition(user), status__in=ENDED, finished_at__lt=now - timedelta(days=days)
    )


def owner_condition(user: Any) -> Q:
    """The condition on the owner of a row; none for None."""
    return Q() if user is None else Q(owner=user)
