"""Previews and thumbnails of stored images: WebP, made at the first request and then stored."""

from __future__ import annotations

import logging

from django.core.files import File
from django.core.files.base import ContentFile
from django.db import DatabaseError

from inpainting.media.conversions import converting
from inpainting.media.files import ImageGone
from inpainting.models.images import PreviewedImage, ThumbnailedImage, reduced_webp

logger = logging.getLogger(__name__)


def preview_of(image: PreviewedImage) -> File:
    """Return a WebP of at most 1600 pixels a side. Raises ImageGone and ConversionsBusy as `reduced_copy` does."""
    return reduced_copy(image, "preview")


def thumbnail_of(image: ThumbnailedImage) -> File:
    """Return a WebP of at most 384 pixels a side. Raises ImageGone and ConversionsBusy as `reduced_copy` does."""
    return reduced_copy(image, "thumbnail")


def reduced_copy(image: PreviewedImage, field: str) -> File:
    """Return a reduced copy of an image; where it cannot be stored, as on a full disk, one that is made for this
    response.

    Raises ImageGone, and ConversionsBusy if other images are being converted for too long.
    """
    file: File = getattr(image, field)
    if file:
        return file
    with converting():
        stored = type(image)._default_manager.filter(pk=image.pk).first()
        if stored is None:
            raise ImageGone
        file = getattr(stored, field)
        if file:  # another request has made it meanwhile
            return file
        data = reduced_webp(stored.read(), field)
        try:
            if stored.store_reduced(field, data):
                return file
        except (OSError, DatabaseError):
            logger.warning("The %s of %s cannot be stored", field, stored.pk, exc_info=True)
    return ContentFile(data, name=f"{image.file.name}.webp")
