"""Limits on uploaded image files, and the errors for files that are refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inpainting.core.errors import InvalidImage
from inpainting.core.geometry import Size
from inpainting.core.sentences import Sentence, plural_sentence, pmark, sentence

MEBI = 2**20


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Limits on the size and complexity of a file. Within the default ones no decode takes over 3 s or 700 MB, as
    measured.

    Sides in pixels.
    """

    max_bytes: int = 32 * MEBI
    min_side: int = 1
    max_side: int = 8192
    max_pixels: int = 40_000_000
    max_pixels_16_bit: int = 20_000_000
    # 20 million pixels of CMYK take about a second to convert. `max_jpeg_scans` stops files that are small but slow: a
    # 419 KiB progressive JPEG of 3,010 scans takes libjpeg a minute. `max_jpeg_scan_samples` is the sum over all scans
    # of pixels x components in that scan, for large images of many scans, as each visits every block again. At 40
    # megapixels it allows 25 scans of one component; libjpeg's own progressive images come to 14 (CMYK: 24).
    # `max_png_chunks` does not count image data in chunks of at least 1 KiB. `max_text_bytes` and `max_profile_bytes`
    # are sizes after decompression, all texts of the file together. `max_gif_blocks` are the data blocks of the first
    # frame; whole ones hold 255 bytes, so 32 MiB are 131,586 of them. `max_tiff_chunks` are the strips or tiles of the
    # first page. `max_heif_items` are the tiles, thumbnails and metadata of an AVIF or HEIC: libheif reads no more, and
    # a phone's photo has about 60.
    max_pixels_cmyk: int = 20_000_000
    max_jpeg_scans: int = 64
    max_jpeg_scan_samples: int = 1_000_000_000
    max_jpeg_segments: int = 4096
    max_png_chunks: int = 4096
    max_text_bytes: int = 16 * MEBI
    max_profile_bytes: int = 4 * MEBI
    max_webp_chunks: int = 4096
    max_gif_blocks: int = 262_144
    max_tiff_chunks: int = 262_144
    max_heif_items: int = 1000
    # Whether this program wrote the file: Content Credentials that were read from an upload are in no other file.
    is_own_file: bool = False


DEFAULT_LIMITS = IntakeLimits()
HIGHEST_MEGAPIXELS, HIGHEST_SIDE, HIGHEST_MEBIBYTES = 120, 16_384, 512
"""What an administrator may raise `max_pixels` (in millions), `max_side` and `max_bytes` (in MiB) to, at most."""


def limits_of(*, megapixels: float, max_side: int, mebibytes: int) -> IntakeLimits:
    """Return the limits of a site: `max_pixels` in millions, `max_side` in pixels, and `max_bytes` in MiB.

    Where `megapixels` is above the default, images of 16 bits a channel and of CMYK may have as many pixels as others,
    and a JPEG as many scans as one of the default size.
    """
    max_pixels = round(megapixels * 1e6)
    limits = replace(DEFAULT_LIMITS, max_bytes=mebibytes * MEBI, max_side=max_side, max_pixels=max_pixels)
    if max_pixels <= DEFAULT_LIMITS.max_pixels:
        return limits
    scans = DEFAULT_LIMITS.max_jpeg_scan_samples // DEFAULT_LIMITS.max_pixels
    return replace(
        limits,
        max_pixels_16_bit=max_pixels,
        max_pixels_cmyk=max_pixels,
        max_jpeg_scan_samples=scans * max_pixels,
    )


STORED_LIMITS = replace(
    limits_of(megapixels=HIGHEST_MEGAPIXELS, max_side=HIGHEST_SIDE, mebibytes=1024), is_own_file=True
)
"""The limits for files that this program wrote: a lossless file may have more bytes than the upload had, and the
administrator may have lowered the limits since."""


@dataclass(frozen=True, slots=True)
class Intake:
    """An uploaded file: its field in the request and its limits. Builds the errors for it."""

    field: str
    limits: IntakeLimits

    @property
    def noun(self) -> Sentence:
        """The word for it in messages: "mask" for every field with mask in its name, else "image"."""
        return pmark("a file that was sent", "mask") if "mask" in self.field else pmark("a file that was sent", "image")

    def refusal(
        self,
        code: str,
        template: str,
        /,
        *,
        limit: int | str | None = None,
        actual: int | str | None = None,
        **values: Any,
    ) -> InvalidImage:
        """Return the error to raise.

        code: gets the prefix `image_` or `mask_`. template: the message, with {noun} for the file and names for
        `values`.
        """
        return InvalidImage(
            sentence(template, noun=self.noun, **values),
            code=f"{self.noun}_{code}",
            field=self.field,
            limit=limit,
            actual=actual,
        )

    def few_bits(self, bits: int) -> Sentence:
        """Return the warning for pixels of fewer than 8 bits."""
        return plural_sentence(
            "The {noun} has {count} bit a pixel; it is kept with 8.",
            "The {noun} has {count} bits a pixel; it is kept with 8.",
            count=bits,
            noun=self.noun,
        )

    def damage_error(self, reason: str) -> InvalidImage:
        return self.refusal("damaged", "The {noun} file is damaged: {reason}.", reason=_marked(reason))

    def too_complex(self, parts: str, *, limit: int) -> InvalidImage:
        return self.refusal(
            "too_complex",
            "The {noun} has more than {most} {parts}; that is the most allowed.",
            limit=limit,
            actual=f"> {limit}",
            most=limit,
            parts=_marked(parts),
        )

    def check_size(self, width: int, height: int, *, max_pixels: int | None = None, kind: str = "") -> Size:
        """Return the size, if it is within the limits; raises InvalidImage otherwise. Called before anything is
        decoded.

        max_pixels: the limit for images of a `kind` (" in CMYK", marked), if it is below that of all images.
        """
        limits, actual = self.limits, f"{width}x{height}"
        if min(width, height) < limits.min_side:
            least = f"{limits.min_side}x{limits.min_side}"
            raise self.refusal(
                "too_small",
                "The {noun} is {size}; at least {least} is needed.",
                limit=least,
                actual=actual,
                size=actual,
                least=least,
            )
        max_pixels = min(max_pixels or limits.max_pixels, limits.max_pixels)
        if max(width, height) > limits.max_side or width * height > max_pixels:
            allowed = f"{limits.max_side} a side and {max_pixels / 1e6:g} megapixels"
            raise self.refusal(
                "dimensions",
                "The {noun} is {size}{kind}; at most {side} a side and {megapixels:g} megapixels are allowed.",
                limit=allowed,
                actual=actual + kind,
                size=actual,
                kind=kind,
                side=limits.max_side,
                megapixels=max_pixels / 1e6,
            )
        return Size(width, height)


def _marked(literal: str) -> Sentence:
    """Return a literal, which `makemessages` collects by the name of the method that takes it, as a sentence."""
    return literal if isinstance(literal, Sentence) else Sentence(literal)
