"""A reader for the parts of an ONNX file that its check needs: inputs, outputs, operators, external data.

The format is protobuf (developers.google.com/protocol-buffers/docs/encoding); the numbers of the fields are those of
github.com/onnx/onnx, onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_FIELDS = 2_000_000
"""Fields that are read; published networks have some ten thousand."""
MAX_DEPTH = 32
VARINT, EIGHT_BYTES, TEXT, FOUR_BYTES = 0, 1, 2, 5
KEYS = 2**32
"""Keys are smaller. Some libraries read the lower 32 bits of a larger key, and so see another field."""

INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
"""Message -> its fields that hold messages, and of which kind; other fields are skipped."""
GRAPH_TENSOR, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12
NODE_OPERATOR, NODE_DOMAIN, TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 4, 7, 8, 13, 14


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of the graph: its element type (1 is float32, 2 is uint8) and its shape, None where free."""

    type: int
    shape: tuple[int | None, ...]


@dataclass(slots=True)
class OnnxFile:
    """inputs: without those that an initializer of the file fills. operators, domains: of its nodes; "" is ONNX's own.

    messages: the kinds of messages in it, by the names in INSIDE. is_external: whether its numbers lie in another file.
    """

    inputs: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    is_external: bool = False


Span = tuple[int, int]


def read(path: Path) -> OnnxFile:
    """Return what the file declares. Raises ValueError for a file that is damaged or no ONNX file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = OnnxFile()
        budget = iter(range(MAX_FIELDS))  # a file of nothing but tiny fields must not take hours
        filled: set[str] = set()
        waiting: list[tuple[str, Span, int]] = [("model", (0, len(data)), 0)]
        while waiting:
            kind, span, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise ValueError("too deep")
            found.messages.add(kind)
            for number, value in fields(data, span, budget):
                if isinstance(value, tuple) and number in INSIDE[kind]:
                    waiting.append((INSIDE[kind][number], value, depth + 1))
                if kind == "graph" and depth == 1 and isinstance(value, tuple):
                    if number in (GRAPH_INPUT, GRAPH_OUTPUT):
                        values = found.inputs if number == GRAPH_INPUT else found.outputs
                        values.update([value_info(data, value, budget)])
                    elif number == GRAPH_TENSOR:
                        filled.add(text(data, value, TENSOR_NAME, budget))
                elif kind == "node" and number in (NODE_OPERATOR, NODE_DOMAIN) and isinstance(value, tuple):
                    names = found.operators if number == NODE_OPERATOR else found.domains
                    names.add(data[slice(*value)].decode())
                elif kind == "tensor" and (number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value)):
                    found.is_external = True
    found.inputs = {name: value for name, value in found.inputs.items() if name not in filled}
    return found


def fields(data: mmap.mmap, span: Span, budget: Iterator[int]) -> Iterator[tuple[int, int | Span]]:
    """Yield the fields of one message: number, and an integer or the span of its bytes. Raises ValueError."""
    at, end = span
    while at < end:
        if next(budget, None) is None:
            raise ValueError("too many fields")
        key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        if number == 0 or key >= KEYS:
            raise ValueError("a field without a number")
        if kind == VARINT:
            whole, at = varint(data, at, end)
            yield number, whole
            continue
        if kind == TEXT:
            length, at = varint(data, at, end)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if length > end - at:
            raise ValueError("a field that does not fit")
        if kind == TEXT:
            yield number, (at, at + length)
        at += length


def varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number that does not end")


def inside(data: mmap.mmap, span: Span, wanted: int, budget: Iterator[int]) -> list[Span]:
    return [value for number, value in fields(data, span, budget) if number == wanted and isinstance(value, tuple)]


def text(data: mmap.mmap, span: Span, wanted: int, budget: Iterator[int]) -> str:
    found = inside(data, span, wanted, budget)
    return data[slice(*found[-1])].decode() if found else ""


def value_info(data: mmap.mmap, span: Span, budget: Iterator[int]) -> tuple[str, Value]:
    """Return name and type of a ValueInfoProto: type.tensor_type has elem_type and shape, the shape dimensions."""
    name, kind = text(data, span, 1, budget), 0
    shape: list[int | None] = []
    for type_span in inside(data, span, 2, budget):
        for tensor_span in inside(data, type_span, 1, budget):
            for number, value in fields(data, tensor_span, budget):
                if number == 1 and isinstance(value, int):
                    kind = value
                elif number == 2 and isinstance(value, tuple):
                    for dimension in inside(data, value, 1, budget):
                        sides = [side for at, side in fields(data, dimension, budget) if at == 1]
                        shape.append(sides[-1] if sides and isinstance(sides[-1], int) else None)
    return name, Value(kind, tuple(shape))
