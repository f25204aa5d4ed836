"""Where the strips or tiles of a TIFF's page are stored, and in which batches they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.intake import MEBI, Intake
from inpainting.core.geometry import Size

UNCOMPRESSED, LZW, JPEG, PACKBITS, DEFLATE = 1, 5, 7, 32773, (8, 32946)
LIBTIFF = (LZW, PACKBITS)
"""The compressions that libtiff reads."""
BATCH_BYTES = 8 * MEBI
"""Chunks are decompressed and joined together up to this many bytes: each call of libtiff or numpy costs more than a
small chunk."""


@dataclass(frozen=True, slots=True)
class ChunkBatch:
    """Chunks `first` to `last` of one plane: whole rows of chunks, or a part of one row."""

    plane: int
    first: int
    last: int
    # `top`, `left`: its place in the plane, left in columns of `Storage.columns`.
    top: int
    left: int
    rows: int  # of all chunks, one below the other


@dataclass(frozen=True, slots=True)
class Storage:
    """Where and how the pixels of a TIFF's page are stored.

    `offsets` and `lengths` are those of the chunks (strips or tiles), from left to right and top to bottom, plane after
    plane. A chunk is `chunk` pixels in size with `samples` samples each; the last strip may be lower. `order` is
    numpy's character of the byte order. `jpeg_segments` are those that all chunks share that are JPEGs.
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
    jpeg_segments: bytes
    intake: Intake

    @property
    def across(self) -> int:
        return -(-self.size.width // self.chunk.width)

    @property
    def down(self) -> int:
        return -(-self.size.height // self.chunk.height)

    @property
    def columns(self) -> int:
        """The columns of a chunk: pixels, or with under 8 bits a sample, bytes."""
        return self.chunk.width if self.bits >= 8 else self.row_bytes

    @property
    def row_bytes(self) -> int:
        """The bytes of one row of a chunk: rows begin at whole bytes."""
        return -(-self.chunk.width * self.samples * self.bits // 8)

    def chunk_rows(self) -> NDArray[np.int64]:
        """Return the rows of each chunk: the last strip of each plane holds those that are left, tiles are padded."""
        rows = np.full((self.planes, self.down, self.across), self.chunk.height, np.int64)
        if not self.is_tiled:
            rows[:, -1] = self.size.height - (self.down - 1) * self.chunk.height
        return rows.reshape(-1)

    def chunk_bytes(self) -> NDArray[np.int64]:
        """Return the bytes of each chunk, decompressed."""
        return self.chunk_rows() * self.row_bytes

    def batches(self) -> Iterator[ChunkBatch]:
        """Yield all chunks, in batches of at most BATCH_BYTES or of one chunk. Strips are whole rows of chunks."""
        rows = self.chunk_rows()
        most = max(1, BATCH_BYTES // (self.chunk.height * self.row_bytes))
        rows_of_chunks, side_by_side = max(1, most // self.across), min(most, self.across)
        for plane in range(self.planes):
            for row in range(0, self.down, rows_of_chunks):
                end = (plane * self.down + min(row + rows_of_chunks, self.down)) * self.across
                for column in range(0, self.across, side_by_side):
                    first = (plane * self.down + row) * self.across + column
                    last = min(first + side_by_side, end) if rows_of_chunks == 1 else end
                    top, left = row * self.chunk.height, column * self.columns
                    yield ChunkBatch(plane, first, last, top, left, int(rows[first:last].sum()))

    def bodies(self, batch: ChunkBatch) -> list[memoryview]:
        """Return the stored bytes of each chunk."""
        view, chunks = memoryview(self.data), slice(batch.first, batch.last)
        places = zip(self.offsets[chunks].tolist(), self.lengths[chunks].tolist(), strict=True)
        return [view[offset : offset + length] for offset, length in places]
