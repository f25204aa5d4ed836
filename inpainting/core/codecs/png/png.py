"""Parses the structure of a PNG: checks its chunks, and copies those that a decoder needs.

https://www.w3.org/TR/png-3/ (section 5: layout of chunks; section 11: their contents).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from typing import cast

import numpy as np
from isal import igzip_lib, isal_zlib

from inpainting.core.codecs.decoders import decode_with_opencv
from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.metadata.exif import read_orientation, read_tags
from inpainting.core.codecs.metadata.xmp import PNG_KEYWORD, read_rights
from inpainting.core.codecs.parsed_file import DecodingFailed, ParsedFile
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from inpainting.core.metadata import ImageMetadata, SourceCredentials
from inpainting.core.sentences import sentence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
JPEG_QUALITY = b"jpQu"
"""A private chunk of one byte: the quality of the JPEG that the image was read from, see `ImageMetadata`."""
CREDENTIALS = b"inGr"
"""A private chunk of a source image: one byte, 1 where its Content Credentials were valid, and their archive, see
`SourceCredentials`. Another program could have written it into a file that is uploaded, so it is not read there."""
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
DEPTHS = {GREY: (1, 2, 4, 8, 16), COLOUR: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), COLOUR_ALPHA: (8, 16)}
MIN_UNCOUNTED_IDAT_BYTES = 1024
"""`max_png_chunks` does not count IDAT chunks of at least this size: libpng's have 8 KiB, other programs' 4 KiB."""
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
MAX_STORED_BYTES = 64 * 2**20
"""Rows of more bytes than this are not decompressed by ISA-L, which takes twice the memory of the rows meanwhile."""
MAX_STORED_BLOCK = 65_535
DECOMPRESSION_ERROR = cast(type[Exception], igzip_lib.error)
Body = bytes | memoryview
MAX_GAINING_RATIO = 8
"""The ratio of rows to compressed bytes. Zlib decompresses denser data, such as masks, as fast as ISA-L."""


def chunk(kind: bytes, body: Body) -> bytes:
    """Return the bytes of one chunk: length, kind, body, CRC-32 of kind and body."""
    return b"".join(chunk_parts(kind, body))


def chunk_parts(kind: bytes, body: Body) -> tuple[bytes, bytes, Body, bytes]:
    """Return the parts of a chunk, to be joined with those of others: its body is not copied before."""
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum(kind, body))


def checksum(kind: bytes, body: Body) -> int:
    """Return the CRC-32 of a chunk; ISA-L's takes a tenth of zlib's time."""
    crc: int = isal_zlib.crc32(body, isal_zlib.crc32(kind))
    return crc


def chunks(data: bytes, intake: Intake) -> Iterator[tuple[bytes, Body]]:
    """Yield kind and body of each chunk up to IEND. Checksums are checked where the image depends on them.

    The body of IDAT is a view of `data`, as copies would take as much memory as the file.
    Raises InvalidImage if the file ends early, is corrupt or has too many chunks. Bytes after IEND are ignored.
    """
    view = memoryview(data)
    position, counted, kind = len(SIGNATURE), 0, b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise intake.damage_error("it ends early")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if not kind.isalpha() or (position == len(SIGNATURE)) != (kind == b"IHDR"):
            raise intake.damage_error("its chunks are corrupt")
        if end + 4 > len(data):
            raise intake.damage_error("it ends early")
        counted += kind != b"IDAT" or length < MIN_UNCOUNTED_IDAT_BYTES
        if counted > intake.limits.max_png_chunks:
            raise intake.too_complex("chunks", limit=intake.limits.max_png_chunks)
        body = data[position + 8 : end] if kind != b"IDAT" else view[position + 8 : end]
        if kind in CRITICAL or kind == b"tRNS":
            if struct.unpack_from(">I", data, end)[0] != checksum(kind, body):
                raise intake.damage_error("a checksum in it is wrong")
        elif kind[:1].isupper():
            raise intake.damage_error("it holds an unknown critical chunk")
        yield kind, body
        position = end + 4


def parse_png(data: bytes, intake: Intake) -> ParsedFile:
    """Parse a PNG. Raises InvalidImage."""
    found: dict[bytes, bytes] = {}  # the first of each kind
    essential: list[tuple[bytes, Body]] = []
    text_budget, xmp = intake.limits.max_text_bytes, b""
    for kind, body in chunks(data, intake):
        if kind == b"IHDR":
            size, depth, colour_type, is_interlaced = _parse_header(bytes(body), intake)
        elif kind in TEXTS:
            keyword, text = read_text(kind, bytes(body), text_budget, intake)
            text_budget -= len(text)
            if kind == b"iTXt" and keyword == PNG_KEYWORD.encode():
                xmp = xmp or text
        if kind in CRITICAL or (kind == b"tRNS" and colour_type == PALETTE):
            essential.append((kind, body))
        if kind != b"IDAT":
            found.setdefault(kind, bytes(body))
    exif = found.get(b"eXIf", b"")
    profile, warnings = _parse_profile(found.get(b"iCCP"), intake)
    key = found.get(b"tRNS", b"") if colour_type in (GREY, COLOUR) else b""
    if int.from_bytes(found.get(b"acTL", b"")[:4]) > 1:
        warnings.append(sentence("The {noun} is animated; its first frame is used.", noun=intake.noun))
    if colour_type == PALETTE:
        warnings.append(sentence("The {noun} has a palette; it is kept in true colour.", noun=intake.noun))
    elif depth < 8:
        warnings.append(intake.few_bits(depth))
    if key:
        warnings.append(
            sentence("The {noun} has one transparent colour; it is kept with an alpha channel.", noun=intake.noun)
        )
    row_bytes = 1 + -(-size.width * CHANNELS[colour_type] * depth // 8)
    rows_bytes = 0 if is_interlaced else size.height * row_bytes
    return ParsedFile(
        size=size,
        decode=partial(_decode, essential, size, rows_bytes, depth, colour_type, key),
        profile_space="GRAY" if colour_type in (GREY, GREY_ALPHA) else "RGB ",
        icc_profile=profile,
        orientation=read_orientation(exif),
        warnings=tuple(warnings),
        metadata=ImageMetadata(
            _jpeg_quality(found),
            read_tags(exif),
            read_rights(xmp),
            credentials=_credentials(found) if intake.limits.is_own_file else None,
        ),
    )


def _credentials(found: dict[bytes, bytes]) -> SourceCredentials | None:
    body = found.get(CREDENTIALS)
    return SourceCredentials(body[:1] == b"\1", body[1:]) if body else None


def _jpeg_quality(found: dict[bytes, bytes]) -> int | None:
    quality = int.from_bytes(found.get(JPEG_QUALITY, b"")[:1])
    return quality if 1 <= quality <= 100 else None


def read_text(kind: bytes, body: bytes, max_bytes: int, intake: Intake) -> tuple[bytes, bytes]:
    """Return keyword and text of a tEXt, zTXt or iTXt chunk, in its own encoding (Latin-1; iTXt: UTF-8).

    Raises InvalidImage if the text has more than `max_bytes` bytes. A malformed chunk has no text.
    """
    keyword, _, rest = body.partition(b"\0")
    compressed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"zTXt":
        rest = rest[1:]  # compression method
    elif kind == b"iTXt":
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # flag, method; language; translated keyword
    text = _decompress(rest, max_bytes) if compressed else rest
    if text is not None and len(text) > max_bytes:
        raise intake.damage_error(
            sentence(
                "it contains an oversized text block (over {most} bytes of text)", most=intake.limits.max_text_bytes
            )
        )
    return keyword, text or b""


def _parse_header(body: bytes, intake: Intake) -> tuple[Size, int, int, bool]:
    """Return size, bits a channel and colour type of an IHDR chunk, and whether the rows are interlaced."""
    if len(body) != 13:
        raise intake.damage_error("its header is corrupt")
    width, height, depth, colour_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if depth not in DEPTHS.get(colour_type, ()) or compression or filtering or interlace > 1:
        raise intake.damage_error("its header is corrupt")
    if depth == 16:
        max_pixels = intake.limits.max_pixels_16_bit
        size = intake.check_size(width, height, max_pixels=max_pixels, kind=sentence(" with 16 bits a channel"))
    else:
        size = intake.check_size(width, height)
    return size, depth, colour_type, bool(interlace)


def _parse_profile(body: bytes | None, intake: Intake) -> tuple[bytes | None, list[str]]:
    """Return the colour profile of an iCCP chunk: name, NUL, method, zlib stream."""
    if body is None:
        return None, []
    profile = _decompress(body.partition(b"\0")[2][1:], intake.limits.max_profile_bytes)
    if profile is None:
        return None, [sentence("The {noun}'s colour profile is damaged and was left out.", noun=intake.noun)]
    if len(profile) > intake.limits.max_profile_bytes:
        raise intake.damage_error(
            sentence(
                "it contains an oversized colour profile (over {most} bytes)", most=intake.limits.max_profile_bytes
            )
        )
    return profile, []


def _store_uncompressed(essential: list[tuple[bytes, Body]], rows_bytes: int) -> list[tuple[bytes, Body]]:
    """Return the chunks with the same image data in stored blocks (RFC 1951, section 3.2.4), decompressed by ISA-L.

    The decoder's own zlib would take three times as long. Chunks are returned as they are where that gains nothing, and
    where the data is large, out of place, damaged or not of `rows_bytes` bytes: the decoder handles these.
    """
    kinds = [kind for kind, _ in essential]
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else 0
    end = first + kinds.count(b"IDAT")
    compressed_bytes = sum(len(body) for _, body in essential[first:end])
    if not 0 < rows_bytes <= min(MAX_STORED_BYTES, MAX_GAINING_RATIO * compressed_bytes) or b"IDAT" in kinds[end:]:
        return essential
    compressed = b"".join(body for _, body in essential[first:end])
    decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    stored, left, adler = [b"\x78\x01"], rows_bytes, 1
    try:
        while left:
            rows = decompressor.decompress(compressed, min(left, MAX_STORED_BLOCK))
            compressed, left, adler = b"", left - len(rows), isal_zlib.adler32(rows, adler)
            if not rows:  # the data ends early
                return essential
            stored.append(struct.pack("<?HH", not left, len(rows), MAX_STORED_BLOCK - len(rows)) + rows)
        if not decompressor.eof and (decompressor.decompress(b"", 1) or not decompressor.eof):
            return essential
    except (DECOMPRESSION_ERROR, EOFError):
        return essential
    stored.append(struct.pack(">I", adler))
    return [*essential[:first], *((b"IDAT", body) for body in stored), *essential[end:]]


def _decompress(compressed: bytes, max_bytes: int) -> bytes | None:
    """Return the first `max_bytes` + 1 decompressed bytes of a zlib stream; None if it is not a zlib stream."""
    try:
        return zlib.decompressobj().decompress(compressed, max_bytes + 1)
    except zlib.error:
        return None


def _decode(
    essential: list[tuple[bytes, Body]], size: Size, rows_bytes: int, depth: int, colour_type: int, key: bytes
) -> Pixels:
    """Decode a PNG of these chunks.

    essential: the chunks that the decoder needs.
    rows_bytes: of all filtered rows; 0 for interlaced ones.
    """
    parts = (part for pieces in _store_uncompressed(essential, rows_bytes) for part in chunk_parts(*pieces))
    pixels = decode_with_opencv(SIGNATURE, *parts, size=size)
    if colour_type == GREY_ALPHA:
        # OpenCV expands it: three equal grey channels, then alpha.
        return cast(Pixels, np.ascontiguousarray(pixels[:, :, ::3]))
    if not key:
        return pixels
    # tRNS of grey and true colour: 2 bytes a channel, the one value that is transparent (section 11.3.1.1). It is
    # applied here because OpenCV ignores it for grey.
    height, width, channels = pixels.shape
    if len(key) < 2 * channels:
        raise DecodingFailed(sentence("its transparent colour is corrupt"))
    full = np.iinfo(pixels.dtype).max
    keyed = np.empty((height, width, channels + 1), pixels.dtype)
    opaque = np.zeros((height, width), np.bool_)
    for channel, value in enumerate(struct.unpack_from(f">{channels}H", key)):
        transparent = (value & (2**depth - 1)) * (full // (2**depth - 1) if depth < 8 else 1)
        keyed[:, :, channel] = pixels[:, :, channel]
        opaque |= pixels[:, :, channel] != transparent
    keyed[:, :, -1] = opaque
    keyed[:, :, -1] *= full
    return keyed
