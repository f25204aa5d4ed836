"""Reads the first directory of a TIFF: its tags, as numbers or bytes, without following any offset past the end.

TIFF 6.0, section 2 (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf); BigTIFF has the same structure with
offsets and counts of 8 bytes (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.intake import Intake
from inpainting.core.errors import InvalidImage
from inpainting.core.sentences import Sentence, sentence

CLASSIC, BIG = (b"II*\0", b"MM\0*"), (b"II+\0", b"MM\0+")
SIGNATURES = (*CLASSIC, *BIG)
MAX_ENTRIES = 4096
VALUES_IN_A_TAG = sentence("values in a tag")
INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
"""BYTE, SHORT, LONG, IFD, LONG8 and IFD8, as numpy names them."""
BYTES = {1, 2, 7}
"""BYTE, ASCII and UNDEFINED."""
ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class TiffEntry:
    """The value of one tag: `count` items of the type `kind` in `data`, from `start` on."""

    kind: int
    count: int
    start: int


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """The tags of one image."""

    data: bytes
    order: str
    entries: Mapping[int, TiffEntry]
    next_offset: int  # of the next directory; 0 for none
    intake: Intake

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def numbers(self, tag: int, *, max_count: int = MAX_ENTRIES, noun: Sentence = VALUES_IN_A_TAG) -> NDArray[np.int64]:
        """Return the integers of a tag; none where it is missing. Raises InvalidImage for more than `max_count`, or
        others.

        Numbers beyond 63 bits become negative.
        """
        entry = self.entries.get(tag)
        if entry is None:
            return np.zeros(0, np.int64)
        if entry.kind not in INTEGERS:
            raise self.intake.damage_error("its tags are corrupt")
        if entry.count > max_count:
            raise self.intake.too_complex(noun, limit=max_count)
        self._check(entry)
        return np.frombuffer(self.data, self.order + INTEGERS[entry.kind], entry.count, entry.start).astype(np.int64)

    def number(self, tag: int, default: int) -> int:
        """Return the first integer of a tag, or the default where the tag is missing or empty."""
        found = self.numbers(tag)
        return int(found[0]) if len(found) else default

    def bytes_of(self, tag: int, *, max_bytes: int) -> bytes | None:
        """Return the bytes of a tag; None where it is missing or of another type. Raises InvalidImage for too many."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in BYTES:
            return None
        if entry.count > max_bytes:
            raise self.intake.damage_error(
                sentence("tag {tag} in it has more than {most} bytes", tag=tag, most=max_bytes)
            )
        self._check(entry)
        return self.data[entry.start : entry.start + entry.count]

    def _check(self, entry: TiffEntry) -> None:
        if entry.start + entry.count * ITEM_BYTES[entry.kind] > len(self.data):
            raise self.intake.damage_error("it ends early")


def read_first_directory(data: bytes, intake: Intake) -> TiffDirectory:
    """Return the directory that the header of a TIFF points at. Raises InvalidImage."""
    order = "<" if data.startswith(b"II") else ">"
    layout = "Q" if data.startswith(BIG) else "I"
    try:
        (offset,) = struct.unpack_from(order + layout, data, 8 if layout == "Q" else 4)
    except struct.error as error:
        raise intake.damage_error("it ends early") from error
    return read_directory(data, offset, intake)


def read_directory(data: bytes, offset: int, intake: Intake) -> TiffDirectory:
    """Return the directory at an offset; of a tag that occurs twice, the first is taken. Raises InvalidImage."""
    order = "<" if data.startswith(b"II") else ">"
    big = data.startswith(BIG)
    count_layout, word, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    entry_layout = f"{order}HH{word}"
    entry_bytes = struct.calcsize(entry_layout) + inline
    entries: dict[int, TiffEntry] = {}
    try:
        (count,) = struct.unpack_from(order + count_layout, data, offset)
        if count > MAX_ENTRIES:
            raise intake.too_complex("tags", limit=MAX_ENTRIES)
        position = offset + struct.calcsize(count_layout)
        for _ in range(count):
            tag, kind, items = struct.unpack_from(entry_layout, data, position)
            value = position + entry_bytes - inline
            if items * ITEM_BYTES.get(kind, 1) > inline:
                (value,) = struct.unpack_from(order + word, data, value)
            if kind in ITEM_BYTES:  # a reader skips fields of a type that it does not know (section 2)
                entries.setdefault(tag, TiffEntry(kind, items, value))
            position += entry_bytes
        (next_offset,) = struct.unpack_from(order + word, data, position)
    except (struct.error, OverflowError) as error:
        raise intake.damage_error("it ends early") from error
    return TiffDirectory(data, order, entries, next_offset, intake)


def unreadable(intake: Intake, problem: Sentence) -> InvalidImage:
    """Return the error for a TIFF with something that is not read here."""
    return intake.refusal(
        "type_unsupported",
        "The {noun} is a TIFF with {problem}; export it as a TIFF with 8 or 16 bits a channel and LZW, Deflate or no "
        "compression, as PNG or as JPEG.",
        problem=problem,
    )
