"""Detects the format of a file by its first bytes: the accepted formats and, for messages, other common ones."""

from __future__ import annotations

import codecs

from inpainting.core.codecs import bmp, gif, jpeg
from inpainting.core.codecs.accepted import ACCEPTED
from inpainting.core.codecs.png import png
from inpainting.core.codecs.tiff import directory as tiff_directory
from inpainting.core.sentences import Sentence, sentence

CAMERA_RAW = sentence("a camera's raw file")
EXPORTABLE = (
    (b"FUJIFILMCCD-RAW", CAMERA_RAW),
    (b"IIU\0", CAMERA_RAW),
    (b"IIRO", CAMERA_RAW),
    (b"IIRS", CAMERA_RAW),
    (b"MMOR", CAMERA_RAW),
    (b"\0MRM", CAMERA_RAW),
    (b"FOVb", CAMERA_RAW),
    (b"8BPS", sentence("a Photoshop file")),
    (b"%PDF-", sentence("a PDF file")),
    (b"%!PS", sentence("a PostScript file")),
    (b"\xc5\xd0\xd3\xc6", sentence("a PostScript file")),
    (b"\xff\x0a", sentence("a JPEG XL file")),
    (b"\0\0\0\x0cJXL ", sentence("a JPEG XL file")),
    (b"\0\0\0\x0cjP  ", sentence("a JPEG 2000 file")),
    (b"\xff\x4f\xff\x51", sentence("a JPEG 2000 file")),
    (b"v/1\x01", sentence("an OpenEXR file")),
)
"""Images, which the program that made them can export in an accepted format. Raw files of the other cameras begin as
a TIFF does, see `tiff`."""
UNSUPPORTED = (
    (b"PK\x03\x04", sentence("a ZIP archive")),
    (b"PK\x05\x06", sentence("a ZIP archive")),
    (b"\0\0\1\0", sentence("an icon file")),
    (b"\x1f\x8b", sentence("a gzip archive")),
)
CANON_RAW_BRAND = b"crx "
AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
CONTROL_CHARACTERS = frozenset(range(32)) - frozenset(b"\t\n\r\f")
EXAMINED_TEXT_BYTES = 1024
EXAMINED_BRANDS = 256
"""Bytes of the box ftyp."""


def detect_format(data: bytes) -> str | None:
    """Return the accepted format of a file, as `decoding.PARSERS` names it, or None for any other format."""
    if data.startswith(png.SIGNATURE):
        return "PNG"
    if data.startswith(jpeg.SIGNATURE):
        return "JPEG"
    if data.startswith(gif.SIGNATURES):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(tiff_directory.SIGNATURES):
        return "TIFF"
    if data.startswith(bmp.SIGNATURE) and data[15:18] == b"\0\0\0":  # the size of the header, below 256
        return "BMP"
    brands = _brands(data)
    if brands.intersection(AVIF_BRANDS):
        return "AVIF"
    return "HEIC" if brands.intersection(HEIC_BRANDS) else None


def describe(data: bytes) -> tuple[Sentence, Sentence]:
    """Return the name of another format for a message, such as "a PDF file", and what to do about it."""
    exported = next((name for magic, name in EXPORTABLE if data.startswith(magic)), None)
    if exported is None and CANON_RAW_BRAND in _brands(data):
        exported = CAMERA_RAW
    if exported is not None:
        return exported, sentence("export it as TIFF, PNG or JPEG")
    return _other_kind(data), sentence("send {formats}", formats=Sentence(ACCEPTED))


def _brands(data: bytes) -> set[bytes]:
    """Return the major and the compatible brands of a file in the ISO base media file format (ISO/IEC 14496-12,
    4.3)."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4]), EXAMINED_BRANDS)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _other_kind(data: bytes) -> Sentence:
    for magic, name in UNSUPPORTED:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return sentence("a video file")
    start = data[:EXAMINED_TEXT_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return sentence("an HTML page")
    if b"<svg" in start:
        return sentence("an SVG file")
    if start and not CONTROL_CHARACTERS.intersection(start) and _is_text(start):
        return sentence("a text file")
    return sentence("of an unknown format")


def _is_text(start: bytes) -> bool:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(start) != ""  # may end inside a character
    except UnicodeDecodeError:
        return False
