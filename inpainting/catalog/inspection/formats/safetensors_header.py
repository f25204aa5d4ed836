"""The header of a safetensors file, checked without reading the numbers.

The format (github.com/huggingface/safetensors, README, "Format"): 8 bytes, little-endian: the header's length; the
header, an object of name -> dtype, shape, data_offsets; the numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import WEIGHTS, ModelRefused, quote
from inpainting.core.sentences import sentence

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library (`MAX_HEADER_SIZE`)."""
MAX_COLONS, MAX_COMMAS = 200_000, 1_000_000
"""Counted before a header is parsed, texts included. A tensor has 4 colons and about 8 commas; the largest models have
a few thousand tensors, and the training notes of a LoRA may list tens of thousands of tags."""
METADATA = "__metadata__"
"""The key of the header with notes of whoever saved the file."""
MAX_DIMENSIONS = 8
"""Of a shape; PyTorch's convolutions have at most 5."""
TYPE_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}
"""Bits of one number, by the names of the format's description."""


def read_header(path: Path) -> dict[str, Any]:
    """Return the tensors of a file by name: dtype, shape and data_offsets of each.

    Raises ModelRefused unless the spans of the tensors cover the rest of the file without hole or overlap, and each is
    as long as its shape says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > min(MAX_HEADER_BYTES, size - 8):
            raise ModelRefused(
                sentence("{file} is no {suffix} file: its header does not fit.", file=path.name, suffix=WEIGHTS)
            )
        text = file.read(length)
        if text.count(b":") > MAX_COLONS or text.count(b",") > MAX_COMMAS:
            raise ModelRefused(
                sentence(
                    "{file} has a header of more than {most} tensors, or as long; no model has.",
                    file=path.name,
                    most=MAX_COLONS // 4,
                )
            )
        try:
            header = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelRefused(
                sentence("{file} is no {suffix} file: its header is not JSON.", file=path.name, suffix=WEIGHTS)
            ) from error
    if not isinstance(header, dict):
        raise ModelRefused(
            sentence("{file} is no {suffix} file: its header is no object.", file=path.name, suffix=WEIGHTS)
        )
    header.pop(METADATA, None)
    at = 0
    for begin, end, name in sorted(tensor_spans(header, path.name)):
        if begin != at:
            raise ModelRefused(
                sentence(
                    "{file} is damaged: {name} begins at byte {begin}, not at {at}.",
                    file=path.name,
                    name=quote(name),
                    begin=begin,
                    at=at,
                )
            )
        at = end
    if at != size - 8 - length:
        raise ModelRefused(
            sentence(
                "{file} is damaged: it has {present} bytes of numbers, its header {at}.",
                file=path.name,
                present=size - 8 - length,
                at=at,
            )
        )
    return header


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts in the metadata of a file that `read_header` accepts; {} where it has none."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    notes = header.get(METADATA)
    return {key: text for key, text in notes.items() if isinstance(text, str)} if isinstance(notes, dict) else {}


def tensor_spans(header: Mapping[str, Any], file: str) -> Iterator[tuple[int, int, str]]:
    """Yield first byte, end and name of each tensor. Raises ModelRefused for a wrong description."""
    for name, tensor in header.items():
        try:
            dtype, shape, (begin, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
            numbers = [begin, end, *shape]
            are_sizes = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
            if len(shape) > MAX_DIMENSIONS or not are_sizes:
                raise ValueError(shape)
            bits = TYPE_BITS[dtype]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelRefused(
                sentence("{file} is damaged: {name} is described wrongly.", file=file, name=quote(name))
            ) from error
        if (end - begin) * 8 != math.prod(shape) * bits:
            raise ModelRefused(
                sentence("{file} is damaged: {name} has not the length of its shape.", file=file, name=quote(name))
            )
        yield begin, end, name
