"""Detects the format of a file by its first bytes: the four accepted formats and, for messages, other common ones."""

from __future__ import annotations

import codecs

from inpainting.core.codecs import gif, jpeg, png

UNSUPPORTED = (
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"II+\0", "a TIFF file"),
    (b"MM\0+", "a TIFF file"),
    (b"BM", "a BMP file"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF-", "a PDF file"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\0\0\1\0", "an icon file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"v/1\x01", "an OpenEXR file"),
    (b"\x1f\x8b", "a gzip archive"),
)
AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
CONTROL_CHARACTERS = frozenset(range(32)) - frozenset(b"\t\n\r\f")
EXAMINED_TEXT_BYTES = 1024


def detect_format(data: bytes) -> str | None:
    """Return "PNG", "JPEG", "WEBP" or "GIF", or None for any other format."""
    if data.startswith(png.SIGNATURE):
        return "PNG"
    if data.startswith(jpeg.SIGNATURE):
        return "JPEG"
    if data.startswith(gif.SIGNATURES):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def describe(data: bytes) -> str:
    """Return the name of another format for a message, such as "a TIFF file"."""
    for magic, name in UNSUPPORTED:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "an AVIF file" if brand in AVIF_BRANDS else "a HEIC file" if brand in HEIC_BRANDS else "a video file"
    start = data[:EXAMINED_TEXT_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "an HTML page"
    if b"<svg" in start:
        return "an SVG file"
    if start and not CONTROL_CHARACTERS.intersection(start) and _is_text(start):
        return "a text file"
    return "of an unknown format"


def _is_text(start: bytes) -> bool:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(start) != ""  # may end inside a character
    except UnicodeDecodeError:
        return False
