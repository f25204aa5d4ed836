"""Decompresses the strips or tiles of a TIFF.

A decoder never gets the file. Deflate is decompressed by ISA-L, chunk by chunk. LZW and PackBits are decompressed by
libtiff, which gets a file written here: rows of bytes in grey, and the chunks.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from inpainting.core.codecs.decoders import PILLOW_ERRORS
from inpainting.core.codecs.intake import MEBI
from inpainting.core.codecs.parsed_file import DecodingFailed
from inpainting.core.codecs.png.png import DECOMPRESSION_ERROR
from inpainting.core.codecs.tiff.jpeg import decode_jpeg_chunk
from inpainting.core.codecs.tiff.storage import JPEG, LIBTIFF, UNCOMPRESSED, ChunkBatch, Storage
from inpainting.core.sentences import sentence


def decompress(storage: Storage, batch: ChunkBatch, target: NDArray[np.uint8]) -> None:
    """Fill [rows, row bytes] with the rows of a batch's chunks. Raises DecodingFailed or InvalidImage."""
    bodies = storage.bodies(batch)
    if storage.compression in LIBTIFF:
        _read_rows(_grey_tiff(bodies, len(target), storage), target)
        return
    height = storage.chunk.height
    for number, body in enumerate(bodies):
        rows = target[number * height : (number + 1) * height]
        if storage.compression == UNCOMPRESSED:
            rows[:] = np.frombuffer(body, np.uint8, rows.size).reshape(rows.shape)
        elif storage.compression == JPEG:
            decode_jpeg_chunk(bytes(body), storage.jpeg_segments, storage.chunk, storage.samples, storage.intake, rows)
        else:
            _inflate(body, rows.reshape(-1))


def _inflate(body: memoryview, target: NDArray[np.uint8]) -> None:
    decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    filled = 0
    try:
        while filled < len(target):
            piece = decompressor.decompress(body if not filled else b"", min(len(target) - filled, MEBI))
            if not piece:
                raise DecodingFailed(sentence("its image data is too short"))
            target[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
    except (DECOMPRESSION_ERROR, EOFError) as error:
        raise DecodingFailed(sentence("its compressed data is corrupt")) from error


def _read_rows(data: bytes, target: NDArray[np.uint8]) -> None:
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        image.load()
    except PILLOW_ERRORS as error:
        raise DecodingFailed(sentence("its compressed data is corrupt")) from error
    height, row_bytes = target.shape
    if image.size != (row_bytes, height) or image.mode != "L":
        raise DecodingFailed(sentence("its compressed data is corrupt"))
    band = max(1, MEBI // row_bytes)  # Pillow's whole image as an array would be two further copies
    for top in range(0, height, band):
        end = min(top + band, height)
        target[top:end] = np.asarray(image.crop((0, top, row_bytes, end)))


def _grey_tiff(bodies: list[memoryview], rows: int, storage: Storage) -> bytes:
    """Return a little-endian TIFF of 8-bit grey with these strips; its tags are the seven that libtiff needs, and two
    more."""
    count, header = len(bodies), 8 + 2 + 9 * 12 + 4
    starts = np.cumsum([header + 8 * count, *(len(body) for body in bodies)])[:-1]
    single = count == 1
    tags = (
        (256, 4, 1, storage.row_bytes),
        (257, 4, 1, rows),
        (258, 3, 1, 8),
        (259, 3, 1, storage.compression),
        (262, 3, 1, 1),
        (273, 4, count, int(starts[0]) if single else header),
        (277, 3, 1, 1),
        (278, 4, 1, min(storage.chunk.height, rows)),
        (279, 4, count, len(bodies[0]) if single else header + 4 * count),
    )
    parts = [b"II*\0", struct.pack("<IH", 8, len(tags)), *(struct.pack("<HHII", *tag) for tag in tags), b"\0\0\0\0"]
    parts += [starts.astype("<u4").tobytes(), np.array([len(body) for body in bodies], "<u4").tobytes()]
    return b"".join([*parts, *bodies])
