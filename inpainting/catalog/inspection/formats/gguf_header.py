"""The header of a GGUF file, checked without reading the numbers.

The reader of the library gguf is not used: this check runs in installations without it, a file of 70 bytes with an
array of 2**40 numbers kept version 0.19 reading for more than 25 seconds, and it accepts tensors that overlap.

The format (github.com/ggml-org/ggml, docs/gguf.md), little-endian: “GGUF”, version, the counts of tensors and of notes;
the notes, each a name, a type and a value; the tensors, each a name, sizes from the innermost outwards, a type and an
offset; their numbers, aligned.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from inpainting.catalog.inspection.files import GGUF, ModelRefused, quote
from inpainting.catalog.inspection.formats.safetensors_header import MAX_DIMENSIONS, MAX_HEADER_BYTES, read_header
from inpainting.core.sentences import Sentence, sentence

MAGIC, VERSIONS = b"GGUF", (2, 3)
MAX_TENSORS, MAX_NOTES = 50_000, 10_000
"""The largest models have a few thousand tensors, and some dozens of notes."""
MAX_VALUES = 100_000
"""Of all arrays in the notes: models of images have none but shapes; vocabularies are the largest of other models."""
ALIGNMENT = "general.alignment"
DEFAULT_ALIGNMENT = 32
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of notes (`gguf_metadata_value_type`), as `struct` names them."""
TEXT, ARRAY = 8, 9
TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
"""Types of tensors that diffusers computes with (`ggml_type`): name, numbers of a block, bytes of a block."""


def read_weights_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors or GGUF file, by its suffix. Raises ModelRefused."""
    return read_gguf_header(path) if is_gguf(path.name) else read_header(path)


def is_gguf(name: str) -> bool:
    return name.lower().endswith(GGUF)


def read_gguf_header(path: Path) -> dict[str, Any]:
    """Return the tensors of a file by name, as `read_header` does: dtype, shape (outermost first) and data_offsets.

    Raises ModelRefused for a file that is damaged, or holds tensors of a type that diffusers does not know.
    """
    with path.open("rb") as file:
        reader = Reader(file, path.name, path.stat().st_size)
        if reader.take(4) != MAGIC:
            raise ModelRefused(sentence("{file} is no {suffix} file.", file=path.name, suffix=GGUF))
        version, tensor_count, note_count = reader.numbers("IQQ")
        if version not in VERSIONS:
            raise ModelRefused(
                sentence("{file} has version {version} of GGUF; known are 2 and 3.", file=path.name, version=version)
            )
        if tensor_count > MAX_TENSORS or note_count > MAX_NOTES:
            raise ModelRefused(
                sentence(
                    "{file} has {tensor_count} tensors and {note_count} notes; no model has.",
                    file=path.name,
                    tensor_count=tensor_count,
                    note_count=note_count,
                )
            )
        notes = {reader.text(): reader.value() for _ in range(note_count)}
        described = [reader.tensor() for _ in range(tensor_count)]
        alignment = notes.get(ALIGNMENT, DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**16:
            raise reader.damaged(sentence("{name} is {value}.", name=ALIGNMENT, value=quote(alignment)))
        start = -(-file.tell() // alignment) * alignment
    header = dict(tensors(described, path.name, start, alignment))
    if len(header) != len(described):
        raise reader.damaged(sentence("Two tensors have one name."))
    check_spans(header, reader)
    return header


@dataclass
class Reader:
    """Reads a header from its beginning. size: of the file in bytes."""

    file: BinaryIO
    name: str
    size: int
    values: int = 0

    def damaged(self, reason: Sentence) -> ModelRefused:
        return ModelRefused(sentence("{file} is damaged: {reason}", file=self.name, reason=reason))

    def take(self, count: int) -> bytes:
        if count > min(MAX_HEADER_BYTES, self.size) - self.file.tell():
            raise self.damaged(sentence("Its header does not fit."))
        return self.file.read(count)

    def numbers(self, kinds: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{kinds}", self.take(struct.calcsize(f"<{kinds}")))

    def text(self) -> str:
        (length,) = self.numbers("Q")
        return self.take(length).decode(errors="replace")

    def value(self) -> Any:
        """Read a note's value. Returns None for an array, which is passed over."""
        (kind,) = self.numbers("I")
        if kind == TEXT:
            return self.text()
        if kind in NUMBERS:
            return self.numbers(NUMBERS[kind])[0]
        if kind != ARRAY:
            raise self.damaged(sentence("A note has the unknown type {type}.", type=kind))
        kind, count = self.numbers("IQ")
        self.values += count
        if self.values > MAX_VALUES or kind not in (TEXT, *NUMBERS):
            raise self.damaged(sentence("A note holds {count} values of the type {type}.", count=count, type=kind))
        for _ in range(count):
            self.text() if kind == TEXT else self.numbers(NUMBERS[kind])
        return None

    def tensor(self) -> tuple[str, list[int], int, int]:
        """Read the description of a tensor: name, shape, type and offset."""
        name = self.text()
        (dimensions,) = self.numbers("I")
        if dimensions > MAX_DIMENSIONS:
            raise self.damaged(sentence("{name} has {count} dimensions.", name=quote(name), count=dimensions))
        return name, [*reversed(self.numbers("Q" * dimensions))], *self.numbers("IQ")


def tensors(
    described: list[tuple[str, list[int], int, int]], file: str, start: int, alignment: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and description of each tensor. start: of the numbers in the file."""
    for name, shape, kind, offset in described:
        if kind not in TYPES:
            known = ", ".join(type_name for type_name, *_ in TYPES.values())
            raise ModelRefused(
                sentence(
                    "{file} is of a type that is not supported ({name}: {type}); known are {known}.",
                    file=file,
                    name=quote(name),
                    type=kind,
                    known=known,
                )
            )
        dtype, block, block_bytes = TYPES[kind]
        count = math.prod(shape)
        if offset % alignment or not shape or shape[-1] % block or not 0 < count < 2**63:
            raise ModelRefused(sentence("{file} is damaged: {name} is described wrongly.", file=file, name=quote(name)))
        begin = start + offset
        yield name, {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + count // block * block_bytes]}


def check_spans(header: Mapping[str, Any], reader: Reader) -> None:
    """Refuse tensors that overlap or lie outside the file. Raises ModelRefused."""
    at = 0
    for begin, end, name in sorted((*tensor["data_offsets"], name) for name, tensor in header.items()):
        if begin < at or end > reader.size:
            raise reader.damaged(
                sentence("{name} lies from byte {begin} to {end}.", name=quote(name), begin=begin, end=end)
            )
        at = end
