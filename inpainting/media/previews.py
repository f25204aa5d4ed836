"""Previews and thumbnails of stored pictures: WebP, made at the first request and then stored."""

from __future__ import annotations

import logging

from django.core.files import File
from django.core.files.base import ContentFile
from django.db import DatabaseError

from inpainting.media.conversions import converting
from inpainting.media.files import PictureGone
from inpainting.models.pictures import PreviewedPicture, ThumbnailedPicture, reduced_webp

logger = logging.getLogger(__name__)


def preview_of(picture: PreviewedPicture) -> File:
    """WebP of at most 1600 pixels a side. Raises PictureGone and ConversionsBusy as `reduced` does."""
    return reduced(picture, "preview")


def thumbnail_of(picture: ThumbnailedPicture) -> File:
    """WebP of at most 384 pixels a side. Raises PictureGone and ConversionsBusy as `reduced` does."""
    return reduced(picture, "thumbnail")


def reduced(picture: PreviewedPicture, field: str) -> File:
    """A reduced copy of a picture; where it cannot be stored, as on a full disk, one that is made for this response.

    Raises PictureGone, and ConversionsBusy if other pictures are being converted for too long.
    """
    file: File = getattr(picture, field)
    if file:
        return file
    with converting():
        stored = type(picture)._default_manager.filter(pk=picture.pk).first()
        if stored is None:
            raise PictureGone
        file = getattr(stored, field)
        if file:  # another request has made it meanwhile
            return file
        data = reduced_webp(stored.read(), field)
        try:
            if stored.store_reduced(field, data):
                return file
        except (OSError, DatabaseError):
            logger.warning("The %s of %s cannot be stored", field, stored.pk, exc_info=True)
    return ContentFile(data, name=f"{picture.file.name}.webp")
