"""What is known of an image's file beyond its pixels, and which of it a result keeps.

Readers and writers are in `core.codecs`: `metadata` for Exif and XMP, and `jpeg_quality`.
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
WORDS_OF_A_PLACE = (b"GPS", b"Location", b"location", b"brob")
"""Parts of the names of properties of Exif and IPTC that say where a photo was taken, and the type of a box that is
compressed with Brotli (C2PA specification 2.2, section 11.1.5)."""


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
class SourceCredentials:
    """The Content Credentials (C2PA) that an uploaded file had."""

    is_valid: bool
    """Whether the file was as it was signed, by a certificate that counted then. It says nothing about who signed."""
    archive: bytes = b""
    """All manifests, as an archive of one ingredient that c2pa-rs wrote; empty where they are not kept."""

    @property
    def may_say_the_place(self) -> bool:
        """Whether a property that is named like a position is in the archive, or one could be, in a compressed part."""
        return any(word in self.archive for word in WORDS_OF_A_PLACE)

    def select(self, choice: str | None) -> SourceCredentials:
        """Return what a result and its source keep: with a choice all manifests, as their signatures cover each whole.

        choice: of the setting `keep_metadata`. Only those that keep a position keep manifests that may hold one.
        """
        kinds = frozenset[MetadataKind]() if choice is None else KINDS_BY_CHOICE[choice]
        is_kept = MetadataKind.GPS in kinds or (bool(kinds) and not self.may_say_the_place)
        return self if is_kept else SourceCredentials(self.is_valid)


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
    credentials: SourceCredentials | None = None
    """Those of an uploaded file; None where it had none. Only the file of a source image has them, see `encode_png`."""

    @property
    def is_empty(self) -> bool:
        """Whether it holds neither tags nor rights nor manifests."""
        return not self.tags and self.rights == Rights() and not (self.credentials and self.credentials.archive)

    def select(self, choice: str | None) -> ImageMetadata:
        """Return the part that a result and its source keep.

        choice: of the setting `keep_metadata`; None keeps no more than the quality, and whether Content Credentials
            were valid.
        """
        credentials = self.credentials and self.credentials.select(choice)
        if choice is None:
            return ImageMetadata(self.jpeg_quality, credentials=credentials)
        tags = tuple(tag for tag in self.tags if tag.kind in KINDS_BY_CHOICE[choice])
        return replace(self, tags=tags, credentials=credentials)


NO_METADATA = ImageMetadata()


def clean_text(text: str) -> str:
    """Return the text in one line without control characters, of at most MAX_TEXT_CHARACTERS."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 2 * MAX_TEXT_CHARACTERS])
    return " ".join(printable.split())[:MAX_TEXT_CHARACTERS]
