"""Decodes an image file to the canonical image: one function for all surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inpainting.core.codecs import bmp, gif, jpeg, webp
from inpainting.core.codecs.accepted import ACCEPTED
from inpainting.core.codecs.colour import profile_matches
from inpainting.core.codecs.heif import heif
from inpainting.core.codecs.intake import DEFAULT_LIMITS, Intake, IntakeLimits
from inpainting.core.codecs.metadata.exif import apply_orientation
from inpainting.core.codecs.parsed_file import DecodingFailed, ParsedFile
from inpainting.core.codecs.png import png
from inpainting.core.codecs.sniffing import describe, detect_format
from inpainting.core.codecs.tiff import tiff
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.sentences import sentence

PARSERS: dict[str, Callable[[bytes, Intake], ParsedFile]] = {
    "PNG": png.parse_png,
    "JPEG": jpeg.parse_jpeg,
    "WEBP": webp.parse_webp,
    "GIF": gif.parse_gif,
    "TIFF": tiff.parse_tiff,
    "BMP": bmp.parse_bmp,
    "AVIF": heif.parse_heif,
    "HEIC": heif.parse_heif,
}


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A canonical image, the format of its file (one of PARSERS) and a warning for each change."""

    image: CanonicalImage
    format: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_mask(cls, mask: Mask) -> DecodedImage:
        """Return a mask that was made here as if it had been sent."""
        return cls(CanonicalImage.of_mask(mask), "PNG")


def decode_image(data: bytes, *, field: str = "image", limits: IntakeLimits = DEFAULT_LIMITS) -> DecodedImage:
    """Decode a file of an ACCEPTED format to the canonical image: upright, L, LA, RGB or RGBA.

    8 or 16 bits a channel, alpha, the colour profile and what `ImageMetadata` holds are kept; 10 and 12 bits become 16.
    Palette and CMYK are converted, of several frames or pages the first is taken, a profile that does not match is
    dropped: each with a warning. `field` is the request's field that the bytes were sent in; errors name it.

    Raises InvalidImage, before any pixel is decoded where it can: `image_empty`, `image_too_large`,
    `image_type_unsupported`, `image_dimensions`, `image_too_small`, `image_too_complex`, `image_damaged`, or the same
    with `mask_`.
    """
    intake = Intake(field, limits)
    format, parsed = _parse(data, intake)
    warnings = list(parsed.warnings)
    profile = parsed.icc_profile
    if profile is not None and not profile_matches(profile, parsed.profile_space):
        warnings.append(
            sentence(
                "The {noun}'s colour profile is damaged or does not fit its pixels; it was left out.", noun=intake.noun
            )
        )
        profile = None
    try:
        pixels = parsed.decode()
    except DecodingFailed as error:
        raise intake.damage_error(sentence("it ends early or is corrupt ({error})", error=error.args[0])) from error
    if (pixels.shape[1], pixels.shape[0]) != (parsed.size.width, parsed.size.height):
        raise intake.damage_error("its sizes contradict each other")
    image = CanonicalImage(apply_orientation(pixels, parsed.orientation), profile, parsed.metadata)
    return DecodedImage(image, format, tuple(warnings))


def inspect_image(data: bytes, *, field: str = "image", limits: IntakeLimits = DEFAULT_LIMITS) -> tuple[str, Size]:
    """Return the format of an image file and its size before rotation, by its structure alone: no pixel is decoded.

    Raises InvalidImage as `decode_image` does, except where only the pixels are damaged.
    """
    format, parsed = _parse(data, Intake(field, limits))
    return format, parsed.size


def _parse(data: bytes, intake: Intake) -> tuple[str, ParsedFile]:
    if not data:
        raise intake.refusal("empty", "The {noun} file is empty.")
    max_bytes = intake.limits.max_bytes
    if len(data) > max_bytes:
        raise intake.refusal(
            "too_large",
            "The {noun} file has {size} bytes; at most {most} are allowed.",
            limit=max_bytes,
            actual=len(data),
            size=len(data),
            most=max_bytes,
        )
    format = detect_format(data)
    if format is None:
        kind, advice = describe(data)
        raise intake.refusal(
            "type_unsupported",
            "The {noun} file is {kind}; {advice}.",
            limit=ACCEPTED,
            actual=kind,
            kind=kind,
            advice=advice,
        )
    return format, PARSERS[format](data, intake)
