"""Decodes a PNG that `encode_png` wrote strip by strip, so that a large one is compared without being held as a whole.

Every byte is read: checksums of the chunks and of the compressed data are compared, and rows beyond the size refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import cast

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray

from inpainting.core.codecs.intake import STORED_LIMITS, Intake
from inpainting.core.codecs.png.png import CHANNELS, DECOMPRESSION_ERROR, Body, chunks
from inpainting.core.codecs.png.writing import UP
from inpainting.core.errors import InvalidImage
from inpainting.core.geometry import Size, row_strips
from inpainting.core.image import MODES, Pixels


class PngStrips:
    """The pixels of a PNG of `encode_png`. Raises InvalidImage for one that is damaged or of another form."""

    def __init__(self, data: bytes) -> None:
        self._intake = Intake("image", STORED_LIMITS)
        header, *others = chunks(data, self._intake)
        width, height, self.bits, colour_type, *methods = struct.unpack(">IIBBBBB", header[1])
        self.size = Size(width, height)
        self._channels = CHANNELS[colour_type]
        self.mode = MODES[self._channels]
        self._bodies = [body for kind, body in others if kind == b"IDAT"]
        if self.bits not in (8, 16) or any(methods):
            raise self._damage_error()

    def strips(self) -> Iterator[tuple[int, Pixels]]:
        """Yield all rows [rows, width, channels] in strips, each with the number of its first row."""
        row_bytes = self.size.width * self._channels * self.bits // 8
        stream = _Stream(self._bodies)
        above = np.zeros(row_bytes, np.uint8)
        for top, bottom in row_strips(self.size.height, self.size.width):
            lines = np.frombuffer(stream.read((bottom - top) * (1 + row_bytes)), np.uint8)
            if lines.size != (bottom - top) * (1 + row_bytes):
                raise self._damage_error()
            lines = lines.reshape(bottom - top, 1 + row_bytes)
            if (lines[:, 0] != UP).any():
                raise self._damage_error()
            rows = np.empty((bottom - top, row_bytes), np.uint8)
            for row, line in zip(rows, lines[:, 1:], strict=True):
                np.add(above, line, out=row)
                above = row
            yield top, self._pixels(rows)
        if stream.read(1) or not stream.is_complete:
            raise self._damage_error()

    def _pixels(self, rows: NDArray[np.uint8]) -> Pixels:
        shape = len(rows), self.size.width, self._channels
        if self.bits == 8:
            return rows.reshape(shape)
        return cast(Pixels, rows.view(">u2").astype(np.uint16).reshape(shape))

    def _damage_error(self) -> InvalidImage:
        return self._intake.damage_error("it is not as it was written")


class _Stream:
    """The decompressed bytes of a zlib stream in several parts."""

    def __init__(self, bodies: list[Body]) -> None:
        self._bodies = iter(bodies)
        self._decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; fewer where the stream ends or is damaged."""
        found, left = [], count
        try:
            while left and not self._decompressor.eof:
                body = next(self._bodies, None) if self._decompressor.needs_input else b""
                if body is None:
                    break
                found.append(self._decompressor.decompress(body, left))
                left -= len(found[-1])
        except DECOMPRESSION_ERROR:
            return b""
        return b"".join(found)

    @property
    def is_complete(self) -> bool:
        """Whether the stream has ended, with the right checksum."""
        return bool(self._decompressor.eof)
