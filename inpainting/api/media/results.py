"""Stored images in another format than the PNG, and results with or without their settings."""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.db.models.fields.files import FieldFile

from inpainting.core.codecs import generation_parameters, replace_png_texts
from inpainting.core.codecs.formats import EXTENSIONS, PNG, default_quality, encode_copy
from inpainting.core.codecs.png_text import SETTINGS_TEXT
from inpainting.media.conversions import converting
from inpainting.media.files import ImageGone
from inpainting.models import GeneratedImage
from inpainting.models.images import StoredImage


def file_in_format(image: StoredImage, format: str, *, quality: int | None = None) -> FieldFile | ContentFile:
    """Return the stored file in that format; where there is none, a lossy copy that is made now and not stored.

    quality: of that copy; None: see `default_quality`.
    Raises ImageGone, and ConversionsBusy if other images are being converted for too long.
    """
    if format == PNG:
        return image.file
    if isinstance(image, GeneratedImage) and image.format == format:
        return image.copy_file
    with converting():
        pixels = image.read()
        quality = quality or default_quality(pixels.metadata)
        copy = encode_copy(pixels, format, quality, metadata=pixels.metadata)
    return ContentFile(copy.data, name=f"{image.file.name}.{EXTENSIONS[format]}")


def result_with_settings(image: GeneratedImage, format: str, *, embedded: bool) -> FieldFile | ContentFile:
    """Return the result in that format, with or without the settings: a text of a PNG, the UserComment of other files.

    Raises as `file_in_format` does.
    """
    if format != PNG and not embedded:
        return file_in_format(image, format)  # lossy copies are stored without
    generation = image.generation
    texts = generation_parameters(generation.engine, generation.settings, index=image.index) if embedded else {}
    with converting():
        if format == PNG:
            with image.file.open("rb") as file:
                data = replace_png_texts(file.read(), texts)
        else:
            pixels = image.read()
            kept = pixels.metadata
            quality = image.report["copy"]["quality"] if image.format == format else default_quality(kept)
            data = encode_copy(pixels, format, quality, comment=texts[SETTINGS_TEXT], metadata=kept).data
    name = f"{image.file.name}.{'with' if embedded else 'without'}-settings.{EXTENSIONS[format]}"
    return ContentFile(data, name=name)


def result_bytes(image: GeneratedImage, format: str = "") -> bytes:
    """Return the bytes of a result in a format; "" for the requested one. Raises as `file_in_format` does."""
    try:
        with file_in_format(image, format or image.format).open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise ImageGone from error
    return data
