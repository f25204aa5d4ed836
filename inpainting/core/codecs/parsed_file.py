"""The result of a format's parser, before any pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inpainting.core.codecs.metadata.exif import UPRIGHT
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from inpainting.core.metadata import NO_METADATA, ImageMetadata


class DecodingFailed(Exception):
    """A decoder could not make pixels of the image data."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The structure of an image file.

    `decode` gives the first frame as [height, width, channels] or raises DecodingFailed. `orientation` is EXIF's 1-8
    for these pixels. `profile_space` is the colour space that `icc_profile` must describe to apply to them: "RGB ",
    "GRAY", or "" if the profile has been applied already.
    """

    size: Size
    decode: Callable[[], Pixels]
    profile_space: str
    icc_profile: bytes | None = None
    orientation: int = UPRIGHT
    warnings: tuple[str, ...] = ()
    metadata: ImageMetadata = NO_METADATA
