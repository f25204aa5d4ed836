"""Whether somebody may have one more generation, asked inside the transaction that accepts it, so that it is exact."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.models import GeneratedImage, Generation, Mask, SourceImage, Status, UserLimits

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


class LimitReached(InvalidRequest):
    """One more is too much. `retry_after_seconds`: when it may be less; None: when something ends or is deleted."""

    def __init__(self, message: str, *, code: str, limit: int, actual: int, retry_after_seconds: int | None) -> None:
        super().__init__(message, code=code, limit=limit, actual=actual)
        self.retry_after_seconds = retry_after_seconds


def check_limits(owner: Any, size: Size) -> None:
    """Raise LimitReached where a picture of this size would be one too many. Call it in the accepting transaction."""
    limits = UserLimits.of(owner)
    if limits is None:
        return
    # Two transactions of one owner must not count at the same time. SQLite's are exclusive anyway.
    get_user_model().objects.select_for_update().get(pk=owner.pk)
    theirs = Generation.objects.filter(owner=owner)
    now = timezone.now()
    today, this_minute = theirs.filter(created_at__gt=now - DAY), theirs.filter(created_at__gt=now - MINUTE)

    soon, tomorrow = _until_free(this_minute, MINUTE, now), _until_free(today, DAY, now)
    refuse_over(limits.waiting, _waiting(theirs), "generations wait or run", None)
    refuse_over(limits.per_minute, this_minute.count(), "generations in a minute", soon)
    refuse_over(limits.per_day, today.count(), "generations in 24 hours", tomorrow)
    asked = math.ceil(size.area / 1e6)
    spent = math.ceil((today.aggregate(n=Sum(F("source__width") * F("source__height")))["n"] or 0) / 1e6)
    refuse_over(limits.megapixels_per_day, spent, "megapixels in 24 hours", tomorrow, adding=asked)
    refuse_over(limits.stored_megabytes, stored_bytes(owner) // 10**6, "megabytes stored", None)


def refuse_over(limit: int | None, used: int, what: str, retry_after_seconds: int | None, *, adding: int = 1) -> None:
    if limit is not None and used + adding > limit:
        raise LimitReached(
            f"Your limit is {limit} {what}, and you are at {used}.",
            code="rate_limited" if "minute" in what else "quota_exceeded",
            limit=limit,
            actual=used,
            retry_after_seconds=retry_after_seconds,
        )


def stored_bytes(owner: Any) -> int:
    """Bytes of all that is kept for somebody, thumbnails left out."""
    kept = [
        SourceImage.objects.filter(owner=owner),
        Mask.objects.filter(owner=owner),
        GeneratedImage.objects.filter(generation__owner=owner),
    ]
    return sum(pictures.aggregate(n=Sum("byte_count"))["n"] or 0 for pictures in kept)


def _waiting(theirs: QuerySet[Generation]) -> int:
    return theirs.filter(status__in=[Status.QUEUED, Status.RUNNING]).count()


def _until_free(counted: QuerySet[Generation], window: timedelta, now: datetime) -> int:
    """Seconds until the oldest of those counted no longer counts."""
    oldest = counted.order_by("created_at").values_list("created_at", flat=True).first()
    return 1 if oldest is None else max(1, math.ceil((oldest + window - now).total_seconds()))
