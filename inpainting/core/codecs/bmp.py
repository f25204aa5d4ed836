"""Parses the header of a BMP and copies out its palette and its pixels.

https://learn.microsoft.com/windows/win32/gdi/bitmap-header-types and, for the header of 12 bytes, BITMAPCOREHEADER.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.decoders import decode_with_opencv
from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.parsed_file import ParsedFile
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from inpainting.core.sentences import sentence

SIGNATURE = b"BM"
FILE_HEADER_BYTES = 14
CORE, INFO, INFO_V5 = 12, 40, 124
HEADER_BYTES = (CORE, INFO, 52, 56, 108, INFO_V5)
"""BITMAPCOREHEADER, BITMAPINFOHEADER, the same with three and four masks, BITMAPV4HEADER and BITMAPV5HEADER."""
RGB, RLE8, RLE4, BIT_FIELDS, ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
DEPTHS = {RGB: (1, 4, 8, 16, 24, 32), RLE8: (8,), RLE4: (4,), BIT_FIELDS: (16, 32), ALPHA_BIT_FIELDS: (16, 32)}
DEFAULT_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
PROFILE_EMBEDDED = b"DEBM"
"""bV5CSType of a file that holds its colour profile: 'MBED' as a little-endian number."""
BAND_ROWS = 256
"""Rows whose fields are taken apart at once, so that the numbers in between stay small."""


@dataclass(frozen=True, slots=True)
class _Header:
    size: Size
    is_top_down: bool
    bits: int
    compression: int


def parse_bmp(data: bytes, intake: Intake) -> ParsedFile:
    """Parse a BMP. Raises InvalidImage."""
    header_bytes = int.from_bytes(data[14:18], "little")
    if len(data) < FILE_HEADER_BYTES + header_bytes:
        raise intake.damage_error("it ends early")
    if header_bytes not in HEADER_BYTES:
        raise intake.damage_error("its header is corrupt")
    header = _read_header(data, header_bytes, intake)
    start = int.from_bytes(data[10:14], "little")
    body = data[start:]
    row_bytes = -(-header.size.width * header.bits // 32) * 4
    if header.compression in (RLE8, RLE4):
        if not body:
            raise intake.damage_error("it ends early")
    elif len(body) < row_bytes * header.size.height:
        raise intake.damage_error("it ends early")
    warnings = []
    if header.bits <= 8:
        palette = _palette(data, header_bytes, header.bits, start, intake)
        if (palette[:, :1] != palette).any():
            warnings.append(sentence("The {noun} has a palette; it is kept in true colour.", noun=intake.noun))
        decode = partial(_decode_indices, header, palette, body)
        is_grey = not warnings
    else:
        decode = partial(_decode_fields, header, _masks(data, header, header_bytes, intake), body, row_bytes)
        is_grey = False
    return ParsedFile(
        size=header.size,
        decode=decode,
        profile_space="GRAY" if is_grey else "RGB ",
        icc_profile=_profile(data, header_bytes, intake),
        warnings=tuple(warnings),
    )


def _read_header(data: bytes, header_bytes: int, intake: Intake) -> _Header:
    if header_bytes == CORE:
        width, height, planes, bits = struct.unpack_from("<HHHH", data, 18)
        compression = RGB
    else:
        width, height, planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if planes != 1 or width < 0 or (height < 0 and compression in (RLE8, RLE4)):
        raise intake.damage_error("its header is corrupt")
    if compression not in DEPTHS:
        raise intake.refusal(
            "type_unsupported",
            "The {noun} is a BMP with compression of kind {compression}; export it as PNG or JPEG.",
            compression=compression,
        )
    if bits not in DEPTHS[compression]:
        raise intake.damage_error("its header is corrupt")
    return _Header(intake.check_size(width, abs(height)), height < 0, bits, compression)


def _palette(data: bytes, header_bytes: int, bits: int, end: int, intake: Intake) -> NDArray[np.uint8]:
    """Return the colours [2 ** bits, 3] of the table between header and pixels; those that it lacks are black."""
    start, item = FILE_HEADER_BYTES + header_bytes, 3 if header_bytes == CORE else 4
    declared = int.from_bytes(data[46:50], "little") if header_bytes != CORE else 0
    count = min(declared or 2**bits, 2**bits, max(0, end - start) // item)
    if declared > 2**bits or not count or len(data) < start + count * item:
        raise intake.damage_error("its palette is corrupt")
    palette = np.zeros((2**bits, 3), np.uint8)
    colours = np.frombuffer(data, np.uint8, count * item, start).reshape(count, item)
    palette[:count] = colours[:, 2::-1]  # stored as blue, green, red
    return palette


def _masks(data: bytes, header: _Header, header_bytes: int, intake: Intake) -> tuple[int, int, int, int]:
    """Return the masks of red, green, blue and alpha; those of a BITMAPINFOHEADER follow it."""
    if header.compression == RGB:
        return DEFAULT_MASKS.get(header.bits, (0, 0, 0, 0))
    count = 4 if header_bytes >= 56 or header.compression == ALPHA_BIT_FIELDS else 3
    try:
        masks = struct.unpack_from(f"<{count}I", data, FILE_HEADER_BYTES + INFO)
    except struct.error as error:
        raise intake.damage_error("it ends early") from error
    red, green, blue, alpha = (*masks, 0)[:4]
    for mask in (red, green, blue, alpha):
        lowest = mask & -mask
        if mask >> header.bits or (lowest and (mask // lowest + 1) & (mask // lowest)):
            raise intake.damage_error("its colour masks are corrupt")
    if not (red and green and blue):
        raise intake.damage_error("its colour masks are corrupt")
    return red, green, blue, alpha


def _profile(data: bytes, header_bytes: int, intake: Intake) -> bytes | None:
    if header_bytes != INFO_V5 or data[70:74] != PROFILE_EMBEDDED:
        return None
    offset, length = struct.unpack_from("<II", data, 126)
    if length > intake.limits.max_profile_bytes:
        raise intake.damage_error(
            sentence(
                "it contains an oversized colour profile (over {most} bytes)", most=intake.limits.max_profile_bytes
            )
        )
    return data[FILE_HEADER_BYTES + offset : FILE_HEADER_BYTES + offset + length]


def _decode_indices(header: _Header, palette: NDArray[np.uint8], body: bytes) -> Pixels:
    """Decode indices of a palette, also run-length encoded ones, by a BMP of the plainest header."""
    height = -header.size.height if header.is_top_down else header.size.height
    colours = np.zeros((len(palette), 4), np.uint8)
    colours[:, :3] = palette[:, ::-1]
    start = FILE_HEADER_BYTES + INFO + colours.size
    parts = [
        struct.pack("<2sIHHI", SIGNATURE, start + len(body), 0, 0, start),
        struct.pack("<IiiHHI", INFO, header.size.width, height, 1, header.bits, header.compression),
        struct.pack("<IiiII", len(body), 0, 0, len(palette), 0),
        colours.tobytes(),
        body,
    ]
    return decode_with_opencv(b"".join(parts))


def _decode_fields(header: _Header, masks: tuple[int, int, int, int], body: bytes, row_bytes: int) -> Pixels:
    """Decode pixels of 16, 24 or 32 bits; rows are padded to four bytes and mostly run upwards."""
    height, width = header.size.height, header.size.width
    rows = np.frombuffer(body, np.uint8, height * row_bytes).reshape(height, row_bytes)
    rows = rows if header.is_top_down else rows[::-1]
    if header.bits == 24:
        return np.ascontiguousarray(rows[:, : 3 * width].reshape(height, width, 3)[:, :, ::-1])
    used = [mask for mask in masks if mask]
    pixels = np.empty((height, width, len(used)), np.uint8)
    kind = "<u2" if header.bits == 16 else "<u4"
    for top in range(0, height, BAND_ROWS):
        band = np.ascontiguousarray(rows[top : top + BAND_ROWS]).view(kind)[:, :width].astype(np.uint64)
        for channel, mask in enumerate(used):
            lowest = mask & -mask
            full = mask // lowest
            values = (band & np.uint64(mask)) // np.uint64(lowest)
            pixels[top : top + BAND_ROWS, :, channel] = (values * np.uint64(255) + np.uint64(full // 2)) // np.uint64(
                full
            )
    return pixels
