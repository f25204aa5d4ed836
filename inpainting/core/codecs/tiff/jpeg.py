"""The strips or tiles of a TIFF that are JPEGs, whose tables are stored once (TIFF Technical Note 2).

http://download.osgeo.org/libtiff/doc/TIFFTechNote2.html
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.jpeg import parse_jpeg_part, read_jpeg_tables
from inpainting.core.codecs.parsed_file import DecodingFailed
from inpainting.core.codecs.tiff.directory import unreadable
from inpainting.core.geometry import Size
from inpainting.core.sentences import sentence

MAX_TABLE_BYTES = 8192
MIN_CHUNK_PIXELS = 64 * 64
FREE_CHUNKS = 1024
"""The number is that of 8192 rows in strips of 8 rows, the lowest that JPEG has: those of a narrow image have few
pixels."""


def max_jpeg_chunks(size: Size) -> int:
    """Return the most strips or tiles that are JPEGs: each costs a parse and a decoder, so small ones are bounded."""
    return FREE_CHUNKS + size.area // MIN_CHUNK_PIXELS


def shared_segments(tables: bytes, samples: int, intake: Intake, *, is_ycbcr: bool) -> bytes:
    """Return the segments that each chunk of `samples` channels is decoded with.

    tables: the value of the tag JPEGTables.

    An Adobe segment states whether three components are YCbCr; without one decoders guess. Raises InvalidImage.
    """
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([is_ycbcr]) if samples == 3 else b""
    return adobe + (read_jpeg_tables(tables, intake) if tables else b"")


def decode_jpeg_chunk(
    body: bytes, shared: bytes, chunk: Size, samples: int, intake: Intake, target: NDArray[np.uint8]
) -> None:
    """Fill the target [rows, row bytes] with the pixels of one chunk. Raises DecodingFailed or InvalidImage."""
    part = parse_jpeg_part(body, shared, intake)
    if part.is_progressive:
        raise unreadable(intake, sentence("progressive JPEG compression"))
    if part.size.width != chunk.width or not len(target) <= part.size.height <= chunk.height:
        raise DecodingFailed(sentence("its sizes contradict each other"))
    pixels = part.decode()[: len(target)]
    if part.components != samples or pixels.size != target.size:
        raise DecodingFailed(sentence("its channels contradict each other"))
    target[:] = pixels.reshape(target.shape)
