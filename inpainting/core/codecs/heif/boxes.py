"""Walks the boxes of a file in the ISO base media file format, as AVIF and HEIC are (ISO/IEC 14496-12, section 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from inpainting.core.codecs.intake import Intake

MAX_BOXES = 4096
"""The limit in one box; a phone's photo has six at the top and about sixteen properties."""


def boxes(data: bytes, intake: Intake) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each box. Raises InvalidImage where one reaches past the end or there are too many."""
    position, count = 0, 0
    while position < len(data):
        count += 1
        if count > MAX_BOXES:
            raise intake.too_complex("boxes", limit=MAX_BOXES)
        kind, length = data[position + 4 : position + 8], int.from_bytes(data[position : position + 4])
        start = position + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8]), start + 8
        elif length == 0:  # the last box, which reaches to the end
            length = len(data) - position
        end = position + length
        if start > end or end > len(data):
            raise intake.damage_error("it ends early")
        yield kind, data[start:end]
        position = end


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


@dataclass(slots=True)
class BoxReader:
    """Reads the numbers of a box one after the other; raises InvalidImage at its end."""

    body: bytes
    intake: Intake
    position: int = 0

    def version_and_flags(self) -> tuple[int, int]:
        both = self.number(4)
        return both >> 24, both & 0xFFFFFF

    def number(self, size: int) -> int:
        """Return the unsigned number of `size` bytes; 0 for none."""
        return int.from_bytes(self.bytes(size))

    def bytes(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.body):
            raise self.intake.damage_error("its boxes are corrupt")
        self.position, part = end, self.body[self.position : end]
        return part

    def is_at_end(self) -> bool:
        return self.position >= len(self.body)
