"""Apply retention: delete generations, webhooks and batches past the owner's or the site's limit."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from inpainting.accounting.limits import prune_ledger
from inpainting.generations.delete import delete_ended
from inpainting.models import Batch, DeliveryState, Generation, Retention, WebhookDelivery
from inpainting.models.generation import ENDED

logger = logging.getLogger(__name__)

SWEEP_EVERY_SECONDS = 3600.0
MAX_DELETED_PER_SWEEP = 50
"""Keeps a sweep short."""


def sweep(now: datetime, *, at_most: int = MAX_DELETED_PER_SWEEP) -> bool:
    """Delete about `at_most` expired generations with their images. Returns True if none is left.

    Applies the site's rule and each user's own, so the shorter of the two takes effect.
    """
    prune_ledger(now)
    deleted = 0
    for retention in Retention.objects.exclude(days=None):
        too_old = too_old_after(retention.days, retention.user_id, now=now).order_by("finished_at")
        deleted += sum(delete_ended(pk) for pk in too_old.values_list("pk", flat=True)[:at_most])
        if deleted >= at_most:
            break
        old_webhooks(retention.days, retention.user_id, now=now).delete()
        emptied_batches(retention.days, retention.user_id, now=now).delete()
    if deleted:
        logger.info("Deleted %d expired generations", deleted)
    return deleted < at_most


def too_old_after(days: int | None, user: Any, *, now: datetime) -> QuerySet[Generation]:
    """Generations of a user, or with None of all users, that ended more than `days` ago. Empty for days of None."""
    if days is None:
        return Generation.objects.none()
    ended = Generation.objects.filter(status__in=ENDED, finished_at__lt=now - timedelta(days=days))
    return ended if user is None else ended.filter(owner=user)


def old_webhooks(days: int | None, user: Any, *, now: datetime) -> QuerySet[WebhookDelivery]:
    """As `too_old_after`: finished webhook deliveries; their attempts are deleted with them."""
    if days is None:
        return WebhookDelivery.objects.none()
    made = WebhookDelivery.objects.filter(created_at__lt=now - timedelta(days=days))
    ended = made.exclude(state=DeliveryState.PENDING)
    return ended if user is None else ended.filter(owner=user)


def emptied_batches(days: int | None, user: Any, *, now: datetime) -> QuerySet[Batch]:
    """As `too_old_after`: batches without generations."""
    if days is None:
        return Batch.objects.none()
    emptied = Batch.emptied(before=now - timedelta(days=days))
    return emptied if user is None else emptied.filter(owner=user)
