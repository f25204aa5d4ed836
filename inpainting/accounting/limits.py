"""Rate limits and quotas, checked inside the accepting transaction, so that they are exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet, Sum
from django.utils import timezone

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import Sentence, sentence
from inpainting.models import (
    Act,
    Analysis,
    DraftImage,
    Generation,
    LedgerEntry,
    OwnerTotals,
    StackShare,
    StackStep,
    StepMask,
    UploadedImage,
    UserLimits,
)

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
LONGEST_WINDOW = DAY
RATE, QUOTA = "rate_limited", "quota_exceeded"
WAITING, MEGABYTES_STORED = sentence("requests queued or running"), sentence("megabytes stored")
WEBHOOKS_PER_MINUTE = 30
"""Limit on test deliveries and redeliveries. Each calls another machine, so the limit applies to all users."""

UPLOADED_IMAGES = 100
"""Limit on the images that a user uploaded and that have not expired."""
FOUND_MASKS = 1000
"""Limit on the masks that were found for a user and that have not expired."""
DRAFT_IMAGES = 500
"""Limit on the images that a user uploaded for drafts and batches: each selected object is one."""
STEP_MASKS = 1000
"""Limit on the masks by which a user painted steps back."""
STACK_SHARES = 500
"""Limit on the links of a user to images of a photo's steps."""
KEPT_STEPS = 10_000
"""Limit on the steps of all photos of a user that are stored."""


class LimitReached(InvalidRequest):
    """A limit is reached.

    retry_after_seconds: None if only the end or deletion of a generation helps.

    what: what is limited, in words.
    """

    def __init__(
        self, message: str, *, what: str, code: str, limit: int, actual: int, retry_after_seconds: int | None
    ) -> None:
        super().__init__(message, code=code, limit=limit, actual=actual)
        self.what = what
        self.retry_after_seconds = retry_after_seconds


class Allowance:
    """The limits of a user within one accepting transaction, which holds a lock on the user until it ends.

    Usage is read once, and only for limits that are set; accepted generations are added to it.
    """

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.limits = UserLimits.for_user(owner)
        self.weight = 1 if self.limits is None else self.limits.weight
        self.accepted = self.accepted_pixels = self.accepted_bytes = 0
        if self.limits is not None:
            lock_owner(owner)

    def check(self) -> None:
        """Raise LimitReached if not even the smallest generation would be accepted."""
        if self.limits is not None:
            self._check(self.limits, 0, added_bytes=1)

    def spend(self, generation: Generation) -> None:
        """Count an accepted generation, before its rows are saved. Raises LimitReached if it exceeds a limit."""
        pixels = generation.result_size.area
        # Images with a row are stored and counted already.
        added_bytes = sum(image.byte_count for image in generation.inputs.values() if image._state.adding)
        if self.limits is not None:
            self._check(self.limits, pixels, added_bytes=added_bytes)
        LedgerEntry.objects.create(owner=self.owner, act=Act.GENERATION, pixels=pixels)
        self.accepted += 1
        self.accepted_pixels += pixels
        self.accepted_bytes += added_bytes

    def spend_analysis(self, analysis: Analysis, *, per_minute: bool) -> None:
        """Count an accepted analysis, before its row is saved: as waiting, stored, and of its own kind per minute.

        per_minute: whether that limit applies to it.
        Raises LimitReached if it exceeds a limit.
        """
        if self.limits is not None:
            self._check_waiting(self.limits)
            if per_minute and self.limits.per_minute is not None:
                recent = _recent_entries(self.owner, Act.ANALYSIS, MINUTE)
                soon = partial(_until_free, recent, MINUTE)
                refuse_over(self.limits.per_minute, recent.count(), sentence("analyses in a minute"), RATE, soon)
            self._check_stored(self.limits, analysis.byte_count)
        if per_minute:
            LedgerEntry.objects.create(owner=self.owner, act=Act.ANALYSIS, pixels=analysis.width * analysis.height)

    def _check(self, limits: UserLimits, pixels: int, *, added_bytes: int) -> None:
        self._check_waiting(limits)
        if limits.per_minute is not None:
            used = self._this_minute_before + self.accepted
            refuse_over(
                limits.per_minute, used, sentence("generations in a minute"), RATE, lambda: self._until_free(MINUTE)
            )
        if limits.per_day is not None:
            used = self._today_before + self.accepted
            refuse_over(limits.per_day, used, sentence("generations in 24 hours"), QUOTA, lambda: self._until_free(DAY))
        if limits.megapixels_per_day is not None:
            used, added = megapixels(self._pixels_before + self.accepted_pixels), megapixels(pixels)
            what, soon = sentence("megapixels in 24 hours"), lambda: self._until_free(DAY)
            refuse_over(limits.megapixels_per_day, used, what, QUOTA, soon, adding=added)
        self._check_stored(limits, added_bytes)

    def _check_waiting(self, limits: UserLimits) -> None:
        if limits.waiting is not None:
            used = self._waiting_before + self.accepted
            refuse_over(
                limits.waiting, used, WAITING, QUOTA, None, advice=sentence("Try again when one of them has ended.")
            )

    def _check_stored(self, limits: UserLimits, added_bytes: int) -> None:
        if limits.stored_megabytes is not None:
            refuse_over_stored(limits.stored_megabytes, self._bytes_before + self.accepted_bytes, added_bytes)

    @cached_property
    def _waiting_before(self) -> int:
        return waiting(self.owner)

    @cached_property
    def _this_minute_before(self) -> int:
        return _recent_entries(self.owner, Act.GENERATION, MINUTE).count()

    @cached_property
    def _today_before(self) -> int:
        return _recent_entries(self.owner, Act.GENERATION, DAY).count()

    @cached_property
    def _pixels_before(self) -> int:
        return _recent_entries(self.owner, Act.GENERATION, DAY).aggregate(n=Sum("pixels"))["n"] or 0

    @cached_property
    def _bytes_before(self) -> int:
        return stored_bytes(self.owner)

    def _until_free(self, window: timedelta) -> int:
        return _until_free(_recent_entries(self.owner, Act.GENERATION, window), window)


def megapixels(pixels: int) -> int:
    return math.ceil(pixels / 1e6)


def spend_webhook(owner: Any) -> None:
    """Count a test delivery or redelivery, in the transaction that makes it due. Raises LimitReached."""
    lock_owner(owner)
    this_minute = _recent_entries(owner, Act.WEBHOOK, MINUTE)
    soon = _until_free(this_minute, MINUTE)
    refuse_over(WEBHOOKS_PER_MINUTE, this_minute.count(), sentence("webhooks sent by hand in a minute"), RATE, soon)
    LedgerEntry.objects.create(owner=owner, act=Act.WEBHOOK)


def check_upload(image: UploadedImage | DraftImage | StepMask | StackShare) -> None:
    """Check the limits on stored images, in the transaction that saves this one. Raises LimitReached."""
    owner = get_user_model().reference(image.owner_id)
    lock_owner(owner)
    if isinstance(image, DraftImage):
        count, limit, what = DraftImage.objects.filter(owner=owner).count(), DRAFT_IMAGES, sentence("draft images")
    elif isinstance(image, StepMask):
        count, limit, what = StepMask.objects.filter(owner=owner).count(), STEP_MASKS, sentence("steps painted back")
    elif isinstance(image, StackShare):
        count, limit, what = StackShare.objects.filter(owner=owner).count(), STACK_SHARES, sentence("links to steps")
    else:
        is_upload = image.found is None
        count = UploadedImage.objects.filter(owner=owner, found__isnull=is_upload).count()
        limit, what = (UPLOADED_IMAGES, sentence("uploaded images")) if is_upload else (FOUND_MASKS, sentence("masks"))
    refuse_over(limit, count, what, QUOTA, None)
    limits = UserLimits.for_user(owner)
    if limits is not None and limits.stored_megabytes is not None:
        refuse_over_stored(limits.stored_megabytes, stored_bytes(owner), image.byte_count)


def check_steps(owner: Any, *, adding: int) -> None:
    """Check the limit on stored steps, in the transaction that stores more and has locked the owner. Raises
    LimitReached."""
    kept = StackStep.objects.filter(stack__owner=owner).count()
    advice = sentence("Delete generations whose steps are not needed any more.")
    refuse_over(KEPT_STEPS, kept, sentence("steps of photos"), QUOTA, None, adding=adding, advice=advice)


def lock_owner(owner: Any) -> None:
    """Serialize the transactions of one owner that accept or store something. SQLite's are exclusive anyway.

    `no_key`: rows that refer to the owner may be written meanwhile.
    """
    get_user_model().objects.select_for_update(no_key=True).only("pk").get(pk=owner.pk)


def refuse_over(
    limit: int,
    used: int,
    what: str,
    code: str,
    retry_after_seconds: Callable[[], int] | int | None,
    *,
    adding: int = 1,
    advice: Sentence | None = None,
) -> None:
    """Raise LimitReached if `used` plus `adding` exceed the limit.

    advice: what helps, where waiting alone does not.
    """
    if used + adding > limit:
        seconds = retry_after_seconds() if callable(retry_after_seconds) else retry_after_seconds
        if seconds is not None:
            advice = sentence("Try again in {time}.", time=describe_duration(seconds))
        values = {"what": what, "limit": limit, "used": used}
        raise LimitReached(
            sentence("Your limit for {what} is {limit}, and {used} are used.", **values)
            if advice is None
            else sentence("Your limit for {what} is {limit}, and {used} are used. {advice}", **values, advice=advice),
            what=what,
            code=code,
            limit=limit,
            actual=used,
            retry_after_seconds=seconds,
        )


def refuse_over_stored(limit_megabytes: int, used_bytes: int, added_bytes: int) -> None:
    """Raise LimitReached if the added bytes exceed the limit, to the byte. At least one is added."""
    used = used_bytes // 10**6
    adding = math.ceil((used_bytes + max(1, added_bytes)) / 10**6) - used
    advice = sentence("That is too little room for this. Delete generations, masks or drafts to make room.")
    refuse_over(limit_megabytes, used, MEGABYTES_STORED, QUOTA, None, adding=adding, advice=advice)


def describe_duration(seconds: int) -> Sentence:
    """Return a time to wait, rounded up: "42 s", "5 min", "3 h"."""
    if seconds < 120:
        return sentence("{seconds} s", seconds=seconds)
    minutes = math.ceil(seconds / 60)
    if minutes < 120:
        return sentence("{minutes} min", minutes=minutes)
    return sentence("{hours} h", hours=math.ceil(minutes / 60))


def prune_ledger(now: datetime) -> int:
    """Delete the ledger entries that no limit counts any more. Returns their number."""
    return LedgerEntry.objects.filter(at__lt=now - LONGEST_WINDOW).delete()[0]


def spent(owner: Any) -> dict[str, int]:
    """Return the current usage of the limits per minute and per 24 hours, by their names; deleted generations count."""
    today = _recent_entries(owner, Act.GENERATION, DAY)
    return {
        "per_minute": _recent_entries(owner, Act.GENERATION, MINUTE).count(),
        "per_day": today.count(),
        "megapixels_per_day": megapixels(today.aggregate(n=Sum("pixels"))["n"] or 0),
    }


def waiting(owner: Any) -> int:
    """Return the number of a user's generations and analyses that are queued or running."""
    return sum(model._default_manager.filter(owner=owner, finished_at=None).count() for model in (Generation, Analysis))


def stored_bytes(owner: Any) -> int:
    """Return the bytes of all stored images of a user, without thumbnails and previews."""
    return stored_bytes_of([owner.pk])[owner.pk]


def stored_bytes_of(owners: Collection[int]) -> dict[int, int]:
    """Return a mapping of each user's primary key to the bytes, as `stored_bytes` counts them."""
    return {owner: totals["stored_bytes"] for owner, totals in OwnerTotals.of(owners).items()}


def _recent_entries(owner: Any, act: Act, window: timedelta) -> QuerySet[LedgerEntry]:
    return LedgerEntry.objects.filter(owner=owner, act=act, at__gt=timezone.now() - window)


def _until_free(counted: QuerySet[LedgerEntry], window: timedelta) -> int:
    """Return the seconds until the oldest counted entry leaves the window."""
    oldest = counted.order_by("at").values_list("at", flat=True).first()
    return 1 if oldest is None else max(1, math.ceil((oldest + window - timezone.now()).total_seconds()))
