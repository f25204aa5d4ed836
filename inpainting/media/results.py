"""Stored images in another format than the PNG; results with or without their settings and Content Credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.db.models.fields.files import FieldFile

from inpainting.core.codecs import generation_parameters, read_png_texts, replace_png_texts
from inpainting.core.codecs.formats import EXTENSIONS, PNG, default_quality, encode_copy
from inpainting.core.codecs.png_text import SETTINGS_TEXT
from inpainting.core.codecs.xmp import PNG_KEYWORD, read_rights, write_packet
from inpainting.core.credentials import DigitalSourceType, Provenance
from inpainting.core.metadata import ImageMetadata, SourceCredentials
from inpainting.engines.inserting import CLONE
from inpainting.media.conversions import converting
from inpainting.media.files import ImageGone
from inpainting.media.signing import sign
from inpainting.media.source_credentials import stored_credentials
from inpainting.models import GeneratedImage, SourceImage, StackShare
from inpainting.models.images import SOURCE_CREDENTIALS, StoredImage
from inpainting.upscalers.registry import upscalers


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


def result_with_settings(
    image: GeneratedImage, format: str, *, embedded: bool | None = None, is_signed: bool = False
) -> FieldFile | ContentFile:
    """Return the result in that format.

    embedded: whether its settings are in it, as a text of a PNG, the UserComment of other files; None: as stored.
    is_signed: whether it has Content Credentials, and the digital source type in XMP. A signed file is made for this
        response: its signature differs each time, and so does the name that stands for its bytes.
    Raises as `file_in_format` does.
    """
    if not is_signed and (embedded is None or (format != PNG and not embedded)):
        return file_in_format(image, format)  # lossy copies are stored without
    generation = image.generation
    texts = generation_parameters(generation.engine, generation.settings, index=image.index) if embedded else {}
    variant = f"{'with' if embedded else 'without'}-settings"
    with converting():
        provenance = provenance_of(image) if is_signed else None
        source_type = provenance.source_type.address if provenance else ""
        if format == PNG:
            png = image.read_bytes()
            packet = packet_of_png(png, source_type) if source_type else None
            data = replace_png_texts(png, None if embedded is None else texts, packet=packet)
        else:
            pixels = image.read()
            kept = replace(pixels.metadata, digital_source_type=source_type)
            quality = image.report["copy"]["quality"] if image.format == format else default_quality(kept)
            data = encode_copy(pixels, format, quality, comment=texts.get(SETTINGS_TEXT, ""), metadata=kept).data
    if provenance:
        return signed(image, data, format, provenance)
    return ContentFile(data, name=f"{image.file.name}.{variant}.{EXTENSIONS[format]}")


def shared_stack_file(shared: StackShare, *, is_signed: bool) -> FieldFile | ContentFile:
    """Return the shared image of a photo's steps as PNG. Raises as `file_in_format` does.

    is_signed: see `result_with_settings`.
    """
    if not is_signed:
        return shared.file
    with converting():
        provenance, png = provenance_of_stack(shared), shared.read_bytes()
        data = replace_png_texts(png, None, packet=packet_of_png(png, provenance.source_type.address))
    return signed(shared, data, PNG, provenance)


def signed(image: StoredImage, data: bytes, format: str, provenance: Provenance) -> ContentFile:
    """Return a file with Content Credentials. Call it after the conversion: others shall not wait for the server of
    time stamps."""
    data = sign(data, format, provenance)
    return ContentFile(data, name=f"{image.file.name}.{sha256(data).hexdigest()}.{EXTENSIONS[format]}")


def packet_of_png(png: bytes, source_type: str) -> bytes:
    """Return an XMP packet of the rights in a PNG and of the address of a digital source type."""
    rights = read_rights(read_png_texts(png).get(PNG_KEYWORD, "").encode())
    return write_packet(ImageMetadata(rights=rights, digital_source_type=source_type))


def provenance_of(image: GeneratedImage) -> Provenance:
    """Return the origin of a result, with the source image that it was made from."""
    generation = image.generation
    return Provenance(
        source_type=source_type_of(image),
        is_enlarged=generation.enlarged_to is not None,
        coverage=image.report.get("coverage", 0.0),
        engine=generation.engine,
        model=generation.model,
        source_sha256=generation.source.sha256,
        source_credentials=source_credentials_of(image),
    )


def provenance_of_stack(shared: StackShare) -> Provenance:
    """Return the origin of the shared image of a photo's steps, with the photo that they were made from."""
    report = shared.report
    return Provenance(
        source_type=DigitalSourceType(report["source_type"]),
        is_enlarged="Enlarged" in report["verbs"],
        coverage=report["coverage"],
        engine=report["engine"],
        model=report["model"],
        source_sha256=shared.source.sha256,
        source_credentials=source_credentials(report, shared.source, keeps_manifests=report["keeps_manifests"]),
    )


def source_credentials_of(image: GeneratedImage) -> SourceCredentials | None:
    """Return the Content Credentials that the source image had; with its manifests where they are kept."""
    generation = image.generation
    keeps_manifests = generation.settings.get("keep_metadata") is not None
    return source_credentials(image.report, generation.source, keeps_manifests=keeps_manifests)


def source_credentials(
    report: Mapping[str, Any], source: SourceImage, *, keeps_manifests: bool
) -> SourceCredentials | None:
    is_valid = report.get(SOURCE_CREDENTIALS)
    if is_valid is None:
        return None
    return (stored_credentials(source.read_bytes()) if keeps_manifests else None) or SourceCredentials(is_valid)


def source_type_of(image: GeneratedImage) -> DigitalSourceType:
    """Return how the pixels of a result came to be."""
    generation = image.generation
    if not generation.model or generation.model in upscalers():
        clones = generation.settings.get("insert_mode") == CLONE and "insert_mode" not in generation.ignored
        return DigitalSourceType.CAPTURES if clones else DigitalSourceType.HUMAN_EDITS
    # Nothing of the source is seen where all of it is repainted from noise. Enlarging has no strength.
    is_from_noise = "strength" not in generation.ignored and generation.settings.get("strength") == 1.0
    is_whole = image.report.get("coverage") == 1.0
    return DigitalSourceType.GENERATED if is_from_noise and is_whole else DigitalSourceType.COMPOSITE


def is_signed_in_pages(image: GeneratedImage | StackShare) -> bool:
    """Return whether downloads from pages have Content Credentials: those of results of trained networks, unless the
    site has turned that off."""
    if isinstance(image, StackShare):
        source_type = DigitalSourceType(image.report["source_type"])
    else:
        source_type = source_type_of(image)
    return settings.CONTENT_CREDENTIALS and source_type.is_of_network


def result_bytes(image: GeneratedImage, format: str = "") -> bytes:
    """Return the bytes of a result in a format; "" for the requested one. Raises as `file_in_format` does."""
    try:
        with file_in_format(image, format or image.format).open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise ImageGone from error
    return data
