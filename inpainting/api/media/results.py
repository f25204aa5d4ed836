"""Stored pictures in another format than the PNG."""

from __future__ import annotations

import threading

from django.core.files.base import ContentFile
from django.db.models.fields.files import FieldFile

from inpainting.core.codecs.formats import EXTENSIONS, PNG, encode_copy
from inpainting.core.settings_table import DEFAULT_QUALITY
from inpainting.media.files import ConversionsBusy, PictureGone
from inpainting.models import GeneratedImage
from inpainting.models.pictures import StoredPicture

WAIT_SECONDS = 10.0
_converting = threading.BoundedSemaphore()
"""One picture is converted at a time: the largest takes ten seconds of a core, and any client with a link may ask."""


def file_in_format(picture: StoredPicture, format: str) -> FieldFile | ContentFile:
    """The stored file in that format; where there is none, a lossy copy that is made now and not stored.

    Raises PictureGone, and ConversionsBusy if it is not its turn within WAIT_SECONDS.
    """
    if format == PNG:
        return picture.file
    if isinstance(picture, GeneratedImage) and picture.format == format:
        return picture.copy_file
    if not _converting.acquire(timeout=WAIT_SECONDS):
        raise ConversionsBusy
    try:
        copy = encode_copy(picture.read(), format, DEFAULT_QUALITY)
    except FileNotFoundError as error:
        raise PictureGone from error
    finally:
        _converting.release()
    return ContentFile(copy.data, name=f"{picture.file.name}.{EXTENSIONS[format]}")


def result_bytes(image: GeneratedImage, format: str = "") -> bytes:
    """The bytes of a result in a format; "" for the requested one. Raises as `file_in_format` does."""
    try:
        with file_in_format(image, format or image.format).open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise PictureGone from error
    return data
