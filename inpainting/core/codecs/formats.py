"""Lossy copies of results in JPEG and WebP, made from the lossless PNG that is kept."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from inpainting.core.codecs.colour import composite_on_white, to_8_bits, to_srgb
from inpainting.core.codecs.metadata.exif_writing import exif_block
from inpainting.core.codecs.metadata.xmp import write_packet
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.metadata import NO_METADATA, ImageMetadata
from inpainting.core.sentences import sentence
from inpainting.core.settings_table import DEFAULT_QUALITY, PaintSettings

PNG, JPEG, WEBP = "png", "jpeg", "webp"
"""The choices of the setting `output_format`."""
EXTENSIONS = {PNG: "png", JPEG: "jpg", WEBP: "webp"}
FORMATS_BY_EXTENSION = {"png": PNG, "jpg": JPEG, "jpeg": JPEG, "webp": WEBP}
CONTENT_TYPES = {format: f"image/{format}" for format in EXTENSIONS}
LABELS = {PNG: "PNG", JPEG: "JPEG", WEBP: "WebP"}
TOO_LARGE = sentence("The file is larger than requested, even at quality 1.")
KILOBYTE = 1000
MAX_PIXELS_OF_SLOW_METHOD = 4_000_000
"""Above, WebP is encoded by its fastest method: 40 megapixels of noise take 11 s and 0.4 GB, with the default of 4
46 s and 1 GB (measured on two busy cores); the file is a fifth larger."""
WEBP_MAX_SIDE = 16_383
"""WEBP_MAX_DIMENSION of libwebp; RFC 9649, section 2.5 (14 bits)."""
EXIF_HEADER = b"Exif\0\0"
"""The beginning of the segment that holds Exif."""
MAX_JPEG_EXIF = 65_533 - len(EXIF_HEADER)
"""Bytes. A segment has at most 65,533, without its length."""
QUALITIES_OF_COPIES = (75, 98)
"""The lowest and the highest quality that a copy takes from a JPEG source: below, what was painted would show the
compression; above, files grow and hardly differ."""
PARTITION_0_OVERFLOW = "encoding error 6"
"""VP8_ENC_ERROR_PARTITION0_OVERFLOW of libwebp, as Pillow words it."""


@dataclass(frozen=True, slots=True)
class LossyCopy:
    """The bytes of a copy, and how it was made."""

    data: bytes
    format: str
    quality: int
    fits: bool = True  # whether it has at most `max_kilobytes`


def format_of(filename: str) -> str | None:
    """Return the format of a file by the extension of its name; None for a name with another one."""
    stem, _, extension = filename.rpartition(".")
    return FORMATS_BY_EXTENSION.get(extension.lower()) if stem else None


def check_fits(size: Size, format: str) -> None:
    """Raise InvalidRequest, `field_invalid`, for a size that the format cannot hold."""
    if format == WEBP and size.longer > WEBP_MAX_SIDE:
        raise InvalidRequest(
            sentence(
                "WebP holds at most {webp_max_side} pixels a side, and the image is {size}: "
                "choose another output format.",
                webp_max_side=WEBP_MAX_SIDE,
                size=size,
            ),
            field="output_format",
            limit=WEBP_MAX_SIDE,
            actual=size.longer,
        )


def describe_losses(image: CanonicalImage, format: str) -> tuple[str, ...]:
    """Return what a copy of the image in the format lacks beyond lossy compression: sentences for people."""
    found = []
    if format != PNG and image.bits == 16:
        found.append(
            sentence("{format} holds 8 bits a channel: the 16 bits of the image are rounded.", format=LABELS[format])
        )
    if format == JPEG and image.has_alpha:
        found.append(sentence("JPEG holds no transparency: transparent parts are blended with white."))
    return tuple(found)


def default_quality(metadata: ImageMetadata) -> int:
    """Return the quality of a copy that was requested without one: that of a JPEG source, within
    QUALITIES_OF_COPIES."""
    lowest, highest = QUALITIES_OF_COPIES
    estimated = metadata.jpeg_quality
    return DEFAULT_QUALITY if estimated is None else min(max(estimated, lowest), highest)


def with_quality(settings: PaintSettings, source: ImageMetadata) -> PaintSettings:
    """Return the settings with the default quality where they request copies without naming one."""
    if settings.output_format == PNG or settings.quality is not None:
        return settings
    return replace(settings, quality=default_quality(source))


def copy_for(image: CanonicalImage, settings: PaintSettings, metadata: ImageMetadata = NO_METADATA) -> LossyCopy:
    """Return the lossy copy that the settings request, whose format is not PNG.

    metadata: see `encode_copy`.
    """
    return encode_copy(
        image,
        settings.output_format,
        settings.quality or default_quality(metadata),
        max_kilobytes=settings.max_file_kilobytes,
        metadata=metadata,
    )


def encode_copy(
    canonical: CanonicalImage,
    format: str,
    quality: int,
    *,
    max_kilobytes: int | None = None,
    comment: str = "",
    metadata: ImageMetadata = NO_METADATA,
) -> LossyCopy:
    """Return the image as JPEG or WebP, with its colour profile; see `describe_losses`.

    comment: ASCII text for the Exif tag UserComment; left out where it does not fit into a JPEG (64 KB).
    metadata: tags and rights for the file; those of the image are not written.
    max_kilobytes: the size to reach, at the highest quality up to `quality` that does; if none does, quality 1. A lower
        quality is also taken where WebP cannot hold the image at a higher one, as with 40 megapixels of noise.
    """
    image, options = _prepare(canonical, format)
    options |= _metadata_options(format, metadata, comment)
    max_bytes = math.inf if max_kilobytes is None else max_kilobytes * KILOBYTE
    best, lowest, tried, highest = None, 1, quality, quality
    while lowest <= highest:
        data = _encode_file(image, format, tried, options)
        if data is not None and (len(data) <= max_bytes or tried == 1):
            best, lowest = LossyCopy(data, format, tried, fits=len(data) <= max_bytes), tried + 1
        else:
            highest = tried - 1
        tried = (lowest + highest) // 2
    if best is None:
        raise ValueError(f"{canonical.size} cannot be encoded as {LABELS[format]}")
    return best


def _metadata_options(format: str, metadata: ImageMetadata, comment: str) -> dict[str, bytes]:
    """Return options of `Image.save`. The metadata alone fits into a JPEG: its texts are bounded."""
    exif = exif_block(metadata.tags, comment)
    if format == JPEG and len(exif) > MAX_JPEG_EXIF:
        exif = exif_block(metadata.tags)
    options = {"exif": EXIF_HEADER + exif if exif else b"", "xmp": write_packet(metadata)}
    return {name: data for name, data in options.items() if data}


def _encode_file(image: Image.Image, format: str, quality: int, options: Mapping[str, Any]) -> bytes | None:
    """Return the bytes of a file; None for a WebP whose block modes exceed 512 KB, the limit of the format (error
    6)."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, quality=quality, **options)
    except ValueError as error:
        if str(error) != PARTITION_0_OVERFLOW:
            raise
        return None
    return buffer.getvalue()


def _prepare(image: CanonicalImage, format: str) -> tuple[Image.Image, dict[str, Any]]:
    """Return the image as Pillow encodes it, and further options of `Image.save`."""
    image = CanonicalImage(image.pixels, image.icc_profile)  # A patched image is copied whenever it is read whole.
    colour, profile = to_8_bits(image.colour), image.icc_profile
    if format == JPEG:
        colour = composite_on_white(colour, image)
        return Image.fromarray(colour[:, :, 0] if colour.shape[2] == 1 else colour), {"icc_profile": profile}
    if colour.shape[2] == 1:
        colour, profile = to_srgb(colour, profile), None  # WebP has no grey, and so no profiles of grey
    method = 4 if image.size.area <= MAX_PIXELS_OF_SLOW_METHOD else 0
    if image.alpha is not None:
        colour = np.dstack([colour, to_8_bits(image.alpha)])
    return Image.fromarray(colour), {"icc_profile": profile, "method": method}
