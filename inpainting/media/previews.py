"""Previews of stored pictures: WebP of at most 1600 pixels a side, made at the first request and then stored."""

from __future__ import annotations

import logging

from django.core.files import File
from django.core.files.base import ContentFile
from django.db import DatabaseError

from inpainting.media.conversions import converting
from inpainting.media.files import PictureGone
from inpainting.models.pictures import PreviewedPicture

logger = logging.getLogger(__name__)


def preview_of(picture: PreviewedPicture) -> File:
    """The preview; where it cannot be stored, as on a full disk, one that is made for this response.

    Raises PictureGone, and ConversionsBusy if other pictures are being converted for too long.
    """
    if picture.preview:
        return picture.preview
    with converting():
        stored = type(picture)._default_manager.filter(pk=picture.pk).first()
        if stored is None:
            raise PictureGone
        if stored.preview:  # another request has made it meanwhile
            return stored.preview
        data = stored.encode_preview()
        try:
            if stored.store_preview(data):
                return stored.preview
        except (OSError, DatabaseError):
            logger.warning("The preview of %s cannot be stored", stored.pk, exc_info=True)
    return ContentFile(data, name=f"{picture.file.name}.webp")
