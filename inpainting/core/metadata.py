"""What is known of an image's file beyond its pixels, and which of it a result keeps.

Readers and writers are in `core.codecs`: `exif`, `exif_writing` and `xmp` for the metadata, `jpeg_quality`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

MAX_TEXT_CHARACTERS = 500
"""The limit of one text. All of them together fit into one segment of a JPEG, 64 KB."""


class ExifDirectory(StrEnum):
    """A directory of Exif: the image's own (IFD0), that of Exif's private tags, that of the GPS."""

    IMAGE = "image"
    PHOTO = "photo"
    GPS = "gps"


class MetadataKind(StrEnum):
    """What a tag says."""

    COPYRIGHT = "copyright"
    DATE = "date"
    CAMERA = "camera"
    LENS = "lens"
    GPS = "gps"


KINDS_BY_CHOICE = MappingProxyType(
    {
        "copyright": frozenset({MetadataKind.COPYRIGHT}),
        "all": frozenset(MetadataKind) - {MetadataKind.GPS},
        "all_with_gps": frozenset(MetadataKind),
    }
)
"""Choice of the setting `keep_metadata` -> the kinds of tags that it keeps. Every choice keeps the rights of XMP."""


@dataclass(frozen=True, slots=True)
class ExifTag:
    """A tag of Exif."""

    directory: ExifDirectory
    # `number`, `type`: as TIFF counts them.
    number: int
    type: int
    kind: MetadataKind
    value: bytes  # big-endian, texts with the NUL that ends them


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights in an XMP packet: `dc:creator`, `dc:rights`, and the properties of `xmpRights`; "" where it has none.

    Of texts in several languages the default one.
    """

    creators: tuple[str, ...] = ()
    rights: str = ""
    marked: str = ""
    """Whether rights are reserved: True or False."""
    usage_terms: str = ""
    web_statement: str = ""


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """What is kept of an image file beside its pixels."""

    # The quality, 1 to 100, that a JPEG was saved with, as its tables say; None for other files.
    jpeg_quality: int | None = None
    # `tags`, `rights`: those that a result may keep; all others are dropped when the file is read.
    tags: tuple[ExifTag, ...] = ()
    rights: Rights = Rights()
    digital_source_type: str = ""
    """The address of IPTC's term for how a result came to be; "": its file does not say it."""

    @property
    def is_empty(self) -> bool:
        """Whether it holds neither tags nor rights."""
        return not self.tags and self.rights == Rights()

    def select(self, choice: str | None) -> ImageMetadata:
        """Return the part that a result and its source keep.

        choice: of the setting `keep_metadata`; None keeps no more than the quality.
        """
        if choice is None:
            return ImageMetadata(self.jpeg_quality)
        return replace(self, tags=tuple(tag for tag in self.tags if tag.kind in KINDS_BY_CHOICE[choice]))


NO_METADATA = ImageMetadata()


def clean_text(text: str) -> str:
    """Return the text in one line without control characters, of at most MAX_TEXT_CHARACTERS."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 2 * MAX_TEXT_CHARACTERS])
    return " ".join(printable.split())[:MAX_TEXT_CHARACTERS]
