"""Store pictures that clients upload to name them in later requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from inpainting.accounting.limits import check_upload
from inpainting.core.picture import Picture
from inpainting.models import UploadedPicture
from inpainting.models.pictures import delete_uncommitted_files
from inpainting.storage import check_free_space


def store_upload(owner: Any, picture: Picture, *, keep_for: timedelta) -> UploadedPicture:
    """Store a picture for that time. Raises LimitReached, and OSError if a disk is full or nearly full."""
    check_free_space()
    uploaded = UploadedPicture.from_picture(owner, picture, expires_at=timezone.now() + keep_for)
    committed = False
    try:
        with transaction.atomic(durable=True):
            check_upload(owner)
            uploaded.save(force_insert=True)
        committed = True
    finally:
        if not committed:
            delete_uncommitted_files([uploaded])
    return uploaded
