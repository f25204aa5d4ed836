"""Stored images in another format than the PNG; results with or without their settings and Content Credentials."""

from __future__ import annotations

import logging
from dataclasses import replace
from hashlib import sha256

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.files.base import ContentFile
from django.db import DatabaseError
from django.db.models.fields.files import FieldFile

from inpainting.core.codecs import read_png_texts, replace_png_texts
from inpainting.core.codecs.formats import EXTENSIONS, PNG, default_quality, encode_copy
from inpainting.core.codecs.metadata.xmp import PNG_KEYWORD, read_rights, write_packet
from inpainting.core.codecs.png.text import SETTINGS_TEXT
from inpainting.core.credentials import Origin, Provenance
from inpainting.core.metadata import ImageMetadata, SourceCredentials
from inpainting.media.conversions import converting
from inpainting.media.files import ImageGone, size_of
from inpainting.media.signing import sign, timestamps
from inpainting.media.source_credentials import stored_credentials
from inpainting.models import GeneratedImage, SourceImage
from inpainting.models.images import SOURCE_CREDENTIALS, SignedImage, StoredImage
from inpainting.storage import check_free_space

logger = logging.getLogger(__name__)


def file_in_format(image: StoredImage, format: str, *, quality: int | None = None) -> FieldFile | ContentFile:
    """Return the stored file in that format; where there is none, a lossy copy that is made now and not stored.

    quality: of that copy; None: see `default_quality`.
    Raises ImageGone, and ConversionsBusy if other images are being converted for too long.
    """
    if format == PNG:
        return image.file
    if image.format == format:
        return image.delivered
    with converting():
        pixels = image.read()
        quality = quality or default_quality(pixels.metadata)
        copy = encode_copy(pixels, format, quality, metadata=pixels.metadata)
    return ContentFile(copy.data, name=f"{image.file.name}.{EXTENSIONS[format]}")


def file_with_settings(
    image: SignedImage, format: str, *, embedded: bool | None = None, is_signed: bool = False
) -> FieldFile | ContentFile:
    """Return a result, or a shared image of steps, in that format.

    embedded: whether its settings are in it, as a text of a PNG, the UserComment of other files; None: as stored.
    is_signed: whether it has Content Credentials, and the digital source type in XMP. Signed copies are stored of the
        files that are: of the PNG, and of the lossy copy if there is one.
    Raises as `file_in_format` does.
    """
    is_as_stored = embedded is None or (format != PNG and not embedded)  # lossy copies are stored without
    if is_signed:
        field = {image.format: "signed_copy_file", PNG: "signed_file"}.get(format, "") if is_as_stored else ""
        return signed_file(image, format, embedded, field=field)
    if is_as_stored:
        return file_in_format(image, format)
    with converting():
        data = data_of(image, format, embedded)
    variant = f"{'with' if embedded else 'without'}-settings"
    return ContentFile(data, name=f"{image.file.name}.{variant}.{EXTENSIONS[format]}")


def signed_file(image: SignedImage, format: str, embedded: bool | None, *, field: str) -> FieldFile | ContentFile:
    """Return a file with Content Credentials: made at the first request and then stored in the field. Where there is no
    field, or it cannot be stored, as on a full disk, or it lacks the time stamp that it should have, one that is made
    for this response.

    embedded: see `file_with_settings`.
    Raises as `file_in_format` does.
    """
    if stored := stored_copy(image, field):
        return stored
    with converting():
        if stored := stored_copy(image, field):  # another request has made it meanwhile
            return stored
        provenance = provenance_of(image)
        data = data_of(image, format, embedded, source_type=provenance.source_type.address)
    # After the conversion: others shall not wait for the server of time stamps.
    data = sign(data, format, provenance)
    if field and not timestamps.is_paused:
        try:
            check_free_space()
            image.store_signed(field, ContentFile(data, name=f"image.{EXTENSIONS[format]}"))
            # That of this request, or of another process that was faster.
            if stored := stored_copy(image, field):
                return stored
        except (OSError, DatabaseError):
            logger.warning("The %s of %s cannot be stored", field, image.pk, exc_info=True)
    # Its signature differs each time, and so does the name that stands for its bytes.
    return ContentFile(data, name=f"{image.file.name}.{sha256(data).hexdigest()}.{EXTENSIONS[format]}")


def stored_copy(image: SignedImage, field: str) -> FieldFile | None:
    """Return the file that the field names by now; None where it names none, or one that is gone. Raises ImageGone if
    the row is, and StorageAway."""
    if not field:
        return None
    try:
        image.refresh_from_db(fields=[field])
    except ObjectDoesNotExist as error:
        raise ImageGone from error
    file: FieldFile = getattr(image, field)
    try:
        size_of(file)
    except ImageGone:
        return None
    return file


def data_of(image: SignedImage, format: str, embedded: bool | None, *, source_type: str = "") -> bytes:
    """Return the bytes of an image in that format. See `file_with_settings`.

    source_type: the address of a digital source type for XMP; "" for none.
    """
    texts = image.embedded_texts() if embedded else {}
    if format == PNG:
        png = image.read_bytes()
        packet = packet_of_png(png, source_type) if source_type else None
        return replace_png_texts(png, None if embedded is None else texts, packet=packet)
    pixels = image.read()
    kept = replace(pixels.metadata, digital_source_type=source_type)
    quality = image.report["copy"]["quality"] if image.format == format else default_quality(kept)
    return encode_copy(pixels, format, quality, comment=texts.get(SETTINGS_TEXT, ""), metadata=kept).data


def packet_of_png(png: bytes, source_type: str) -> bytes:
    """Return an XMP packet of the rights in a PNG and of the address of a digital source type."""
    rights = read_rights(read_png_texts(png).get(PNG_KEYWORD, "").encode())
    return write_packet(ImageMetadata(rights=rights, digital_source_type=source_type))


def provenance_of(image: SignedImage) -> Provenance:
    """Return the origin of an image, with the photo that it was made from."""
    origin, source = image.origin, image.source
    return Provenance(
        source_type=origin.source_type,
        is_enlarged=origin.is_enlarged,
        coverage=origin.coverage,
        engine=origin.engine,
        model=origin.model,
        source_sha256=source.sha256,
        source_credentials=source_credentials(image.report.get(SOURCE_CREDENTIALS), source, origin=origin),
    )


def source_credentials(is_valid: bool | None, source: SourceImage, *, origin: Origin) -> SourceCredentials | None:
    """Return the Content Credentials that the photo had; with its manifests where they are kept.

    is_valid: what was found when they arrived; None where there were none.
    """
    if is_valid is None:
        return None
    return (stored_credentials(source.read_bytes()) if origin.keeps_manifests else None) or SourceCredentials(is_valid)


def is_signed_in_pages(image: SignedImage) -> bool:
    """Return whether downloads from pages have Content Credentials: those of results of trained networks, unless the
    site has turned that off."""
    return settings.CONTENT_CREDENTIALS and image.origin.source_type.is_of_network


def is_signer_unknown() -> bool:
    """Return whether other programs do not know who signed: without a certificate of an authority."""
    return not settings.CONTENT_CREDENTIALS_PEM


def result_bytes(image: GeneratedImage, format: str = "") -> bytes:
    """Return the bytes of a result in a format; "" for the requested one. Raises as `file_in_format` does."""
    try:
        with file_in_format(image, format or image.format).open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise ImageGone from error
    return data
