"""Decompresses the strips or tiles of a TIFF and joins them.

A decoder never gets the file. Deflate is decompressed by ISA-L, chunk by chunk. LZW and PackBits are decompressed by
libtiff, which gets a file written here: rows of bytes in grey, and the chunks. Chunks that are JPEGs are parsed and
decoded as JPEG files are. Byte order, predictor, planes and tiles are numpy's work.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from inpainting.core.codecs.decoders import PILLOW_ERRORS
from inpainting.core.codecs.intake import MEBI, Intake
from inpainting.core.codecs.jpeg import parse_jpeg
from inpainting.core.codecs.parsed_file import DecodingFailed
from inpainting.core.codecs.png import DECOMPRESSION_ERROR
from inpainting.core.errors import InvalidPicture
from inpainting.core.geometry import Size
from inpainting.core.picture import Pixels

UNCOMPRESSED, LZW, JPEG, DEFLATE = 1, 5, 7, (8, 32946)
BATCH_BYTES = 8 * MEBI
"""Chunks are decompressed by libtiff together up to about this many bytes: opening a file costs more than a chunk."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where and how the pixels of a TIFF's page are stored.

    `offsets` and `lengths` are those of the chunks (strips or tiles), from left to right and top to bottom, plane after
    plane. A chunk is `chunk` pixels in size with `samples` samples each; the last strip may be lower. `order` is
    numpy's character of the byte order.
    """

    data: bytes
    order: str
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    compression: int
    has_predictor: bool
    is_tiled: bool
    chunk: Size
    size: Size
    planes: int
    samples: int
    bits: int
    jpeg_tables: bytes
    is_ycbcr: bool
    intake: Intake

    @property
    def across(self) -> int:
        return -(-self.size.width // self.chunk.width)

    @property
    def down(self) -> int:
        return -(-self.size.height // self.chunk.height)

    @property
    def row_bytes(self) -> int:
        """Of one row of a chunk: rows begin at whole bytes."""
        return -(-self.chunk.width * self.samples * self.bits // 8)

    def chunk_rows(self) -> NDArray[np.int64]:
        """The rows of each chunk: the last strip of each plane holds those that are left, tiles are padded."""
        rows = np.full((self.planes, self.down, self.across), self.chunk.height, np.int64)
        if not self.is_tiled:
            rows[:, -1] = self.size.height - (self.down - 1) * self.chunk.height
        return rows.reshape(-1)

    def chunk_bytes(self) -> NDArray[np.int64]:
        """The bytes of each chunk, decompressed."""
        return self.chunk_rows() * self.row_bytes

    def bodies(self) -> Iterator[bytes]:
        for offset, length in zip(self.offsets.tolist(), self.lengths.tolist(), strict=True):
            yield self.data[offset : offset + length]


def read_samples(storage: Storage) -> Pixels:
    """All samples as stored: [planes, height, width, samples], or with under 8 bits [1, height, row bytes, 1].

    Raises DecodingFailed.
    """
    rows = _decompressed(storage)
    if storage.bits == 16:
        samples: Pixels = rows.view(storage.order + "u2").astype(np.uint16, copy=False)
    else:
        samples = rows
    columns = storage.chunk.width if storage.bits >= 8 else storage.row_bytes
    samples = samples.reshape(-1, columns, storage.samples)
    if storage.has_predictor:  # horizontal differencing, modulo the range of a sample (section 14)
        np.add.accumulate(samples, axis=1, out=samples, dtype=samples.dtype)
    if not storage.is_tiled:
        return samples.reshape(storage.planes, storage.size.height, columns, storage.samples)
    across, down, chunk_height = storage.across, storage.down, storage.chunk.height
    tiled = samples.reshape(storage.planes, down, across, chunk_height, columns, storage.samples)
    rows_of_tiles = tiled.transpose(0, 1, 3, 2, 4, 5)
    joined = rows_of_tiles.reshape(storage.planes, down * chunk_height, across * columns, storage.samples)
    width = storage.size.width if storage.bits >= 8 else -(-storage.size.width * storage.bits // 8)
    return joined[:, : storage.size.height, :width]


def _decompressed(storage: Storage) -> NDArray[np.uint8]:
    """The rows of all chunks, one chunk below the other: [rows, row bytes]."""
    rows, sizes = storage.chunk_rows(), storage.chunk_bytes()
    target = np.empty((int(rows.sum()), storage.row_bytes), np.uint8)
    flat, ends = target.reshape(-1), sizes.cumsum().tolist()
    if storage.compression not in (UNCOMPRESSED, JPEG, *DEFLATE):
        _decompress_with_libtiff(storage, target)
        return target
    for body, size, end in zip(storage.bodies(), sizes.tolist(), ends, strict=True):
        part = flat[end - size : end]
        if storage.compression == UNCOMPRESSED:
            part[:] = np.frombuffer(body, np.uint8, size)
        elif storage.compression == JPEG:
            _decode_jpeg(body, storage, part)
        else:
            _inflate(body, part)
    return target


def _inflate(body: bytes, target: NDArray[np.uint8]) -> None:
    decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    filled = 0
    try:
        while filled < len(target):
            piece = decompressor.decompress(body if not filled else b"", min(len(target) - filled, MEBI))
            if not piece:
                raise DecodingFailed("its image data is too short")
            target[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
    except (DECOMPRESSION_ERROR, EOFError) as error:
        raise DecodingFailed("its compressed data is corrupt") from error


def _decompress_with_libtiff(storage: Storage, target: NDArray[np.uint8]) -> None:
    """Fill [rows, row bytes] with the chunks' rows, in batches of chunks."""
    bodies: list[bytes] = []
    begin = rows = 0
    all_rows = storage.chunk_rows().tolist()
    for number, (body, height) in enumerate(zip(storage.bodies(), all_rows, strict=True)):
        bodies.append(body)
        rows += height
        # A strip of fewer rows may only be the last of a file.
        if height < storage.chunk.height or rows * storage.row_bytes >= BATCH_BYTES or number + 1 == len(all_rows):
            _read_rows(_grey_tiff(bodies, rows, storage), target[begin : begin + rows])
            begin, rows, bodies = begin + rows, 0, []


def _read_rows(data: bytes, target: NDArray[np.uint8]) -> None:
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        image.load()
    except PILLOW_ERRORS as error:
        raise DecodingFailed("its compressed data is corrupt") from error
    height, row_bytes = target.shape
    if image.size != (row_bytes, height) or image.mode != "L":
        raise DecodingFailed("its compressed data is corrupt")
    band = max(1, MEBI // row_bytes)  # Pillow's whole picture as an array would be two further copies
    for top in range(0, height, band):
        end = min(top + band, height)
        target[top:end] = np.asarray(image.crop((0, top, row_bytes, end)))


def _grey_tiff(bodies: list[bytes], rows: int, storage: Storage) -> bytes:
    """A little-endian TIFF of 8-bit grey with these strips; its tags are the seven that libtiff needs, and two more."""
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


def _decode_jpeg(body: bytes, storage: Storage, target: NDArray[np.uint8]) -> None:
    """Fill the target with the pixels of a chunk that is a JPEG (TIFF Technical Note 2): its tables are the page's.

    An Adobe segment states whether three components are YCbCr; without one decoders guess.
    """
    tables = storage.jpeg_tables[2:-2] if len(storage.jpeg_tables) > 4 else b""
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([storage.is_ycbcr]) if storage.samples == 3 else b""
    try:
        parsed = parse_jpeg(b"\xff\xd8" + adobe + tables + body[2:], storage.intake)
    except InvalidPicture as error:
        raise DecodingFailed("one of its JPEG parts is corrupt") from error
    rows = len(target) // storage.row_bytes
    if parsed.size.width != storage.chunk.width or not rows <= parsed.size.height <= storage.chunk.height:
        raise DecodingFailed("its sizes contradict each other")
    pixels = parsed.decode()[:rows]
    if pixels.size != len(target):
        raise DecodingFailed("its channels contradict each other")
    target[:] = pixels.reshape(-1)
