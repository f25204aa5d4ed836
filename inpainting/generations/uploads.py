"""Store images that clients upload, and masks that are found for them, to be named in later requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from inpainting.accounting.limits import LimitReached, check_upload
from inpainting.core.image import CanonicalImage, Mask
from inpainting.generations.idempotency import Idempotency
from inpainting.models import UploadedImage
from inpainting.models.images import delete_uncommitted_files
from inpainting.storage import check_free_space


def store_upload(
    owner: Any,
    image: CanonicalImage,
    *,
    keep_for: timedelta | None = None,
    found: dict[str, Any] | None = None,
    idempotency: Idempotency | None = None,
) -> UploadedImage:
    """Store an image. keep_for: how long; None: as long as links to results work. found: see the column.

    Raises LimitReached, and OSError if a disk is full or nearly full.
    """
    check_free_space()
    expires_at = timezone.now() + (keep_for or timedelta(hours=settings.RESULT_LINK_HOURS))
    uploaded = UploadedImage.from_image(owner, image, expires_at=expires_at, found=found)
    committed = False
    try:
        with transaction.atomic(durable=True):
            check_upload(uploaded)
            uploaded.save(force_insert=True)
            if idempotency is not None:
                idempotency.remember_mask(uploaded)
        committed = True
    finally:
        if not committed:
            delete_uncommitted_files([uploaded])
    return uploaded


def store_mask(
    owner: Any, mask: Mask, found: dict[str, Any], *, idempotency: Idempotency | None = None
) -> UploadedImage:
    """Store a mask that was found; a repeated key returns the earlier one.

    Raises what `store_upload` raises.
    """
    try:
        return store_upload(owner, CanonicalImage.of_mask(mask), found=found, idempotency=idempotency)
    except (IntegrityError, LimitReached):
        earlier = idempotency.earlier_mask(owner) if idempotency else None
        if earlier is None:
            raise
        return earlier  # a concurrent request with the same key was first


def masks_of(user: Any) -> QuerySet[UploadedImage]:
    """The masks that were found for the user and have not expired, newest first."""
    return UploadedImage.objects.filter(owner=user, found__isnull=False, expires_at__gt=timezone.now()).order_by(
        "-created_at", "-pk"
    )


def find_mask(user: Any, pk: UUID) -> UploadedImage | None:
    """One of `masks_of`; None where there is none."""
    return masks_of(user).filter(pk=pk).first()
