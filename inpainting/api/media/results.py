"""Stored pictures in another format than the PNG."""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.db.models.fields.files import FieldFile

from inpainting.core.codecs.formats import EXTENSIONS, PNG, encode_copy
from inpainting.core.settings_table import DEFAULT_QUALITY
from inpainting.media.conversions import converting
from inpainting.media.files import PictureGone
from inpainting.models import GeneratedImage
from inpainting.models.pictures import StoredPicture


def file_in_format(picture: StoredPicture, format: str) -> FieldFile | ContentFile:
    """The stored file in that format; where there is none, a lossy copy that is made now and not stored.

    Raises PictureGone, and ConversionsBusy if other pictures are being converted for too long.
    """
    if format == PNG:
        return picture.file
    if isinstance(picture, GeneratedImage) and picture.format == format:
        return picture.copy_file
    with converting():
        copy = encode_copy(picture.read(), format, DEFAULT_QUALITY)
    return ContentFile(copy.data, name=f"{picture.file.name}.{EXTENSIONS[format]}")


def result_bytes(image: GeneratedImage, format: str = "") -> bytes:
    """The bytes of a result in a format; "" for the requested one. Raises as `file_in_format` does."""
    try:
        with file_in_format(image, format or image.format).open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise PictureGone from error
    return data
