"""Delete what is older than its owner, or the administrator, wants to keep."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from inpainting.generations.delete import delete_ended
from inpainting.models import Generation, Retention
from inpainting.models.generation import ENDED

logger = logging.getLogger(__name__)

SWEEP_EVERY_SECONDS = 3600.0
AT_ONCE = 50
"""Whoever sweeps has something else to do too."""


def sweep(now: datetime, *, at_most: int = AT_ONCE) -> bool:
    """Delete what is too old with all of its pictures, about `at_most` so many. True: that was all of it.

    By the administrator's rule, then by each one's own: so the shorter of the two holds.
    """
    deleted = 0
    for retention in Retention.objects.exclude(days=None):
        too_old = too_old_after(retention.days, retention.user_id, now=now).order_by("finished_at")
        deleted += sum(delete_ended(pk) for pk in too_old.values_list("pk", flat=True)[:at_most])
        if deleted >= at_most:
            break
    if deleted:
        logger.info("Deleted %d generations that were kept long enough", deleted)
    return deleted < at_most


def too_old_after(days: int | None, user: Any, *, now: datetime) -> QuerySet[Generation]:
    """A user's, or with None everybody's, generations that ended more than so many days ago; None days: none."""
    if days is None:
        return Generation.objects.none()
    ended = Generation.objects.filter(status__in=ENDED, finished_at__lt=now - timedelta(days=days))
    return ended if user is None else ended.filter(owner=user)
