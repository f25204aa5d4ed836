"""AVIF and HEIC files of tiles, of which each may have alpha: as the standard allows, and as no encoder here writes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.heif.boxes import box
from inpainting.core.codecs.heif.items import Property, read_items
from inpainting.core.codecs.heif.writing import WrittenItem, write_heif
from inpainting.core.codecs.intake import DEFAULT_LIMITS, Intake
from tests.core import heifs

SIDE = 64
"""Of each tile in pixels."""


def tiles_of(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The squares of SIDE pixels, in rows."""
    rows, columns = (range(0, length, SIDE) for length in pixels.shape[:2])
    return [np.ascontiguousarray(pixels[y : y + SIDE, x : x + SIDE]) for y in rows for x in columns]


def images_of(file: bytes) -> list[WrittenItem]:
    """The coded image of a file, and that of its alpha, if it has any."""
    items = read_items(file, Intake("image", DEFAULT_LIMITS))
    coded = [items.primary, *items.referring(b"auxl", items.primary)]
    return [
        WrittenItem(item.kind, items.body(item), tuple(item.properties), alpha_of=None if item is items.primary else 0)
        for item in coded
    ]


def grid(tiles: Sequence[Sequence[WrittenItem]], columns: int) -> bytes:
    """The file of a grid of these tiles, each given with its alpha, if it has any."""
    rows = len(tiles) // columns
    size = struct.pack(">II", columns * SIDE, rows * SIDE)
    written: list[WrittenItem] = []
    places: list[int] = []
    for tile in tiles:
        places.append(1 + len(written))
        written += [replace(item, alpha_of=None if item.alpha_of is None else places[-1]) for item in tile]
    body = struct.pack(">BBBB", 0, 1, rows - 1, columns - 1) + size
    first = WrittenItem(b"grid", body, (Property(b"ispe", bytes(4) + size, False),), tuple(places))
    return write_heif(b"avif" if tiles[0][0].kind == b"av01" else b"heic", [first, *written])


def with_configuration(image: WrittenItem, kind: bytes, configuration: bytes) -> WrittenItem:
    """kind: of the codec's box, b"av1C" or b"hvcC"."""
    properties = [item_property for item_property in image.properties if item_property.kind != kind]
    return replace(image, properties=(Property(kind, configuration, True), *properties))


def with_reference(data: bytes, kind: bytes, number: int, target: int) -> bytes:
    """The file in which the item of that number refers to another."""
    reference = box(kind, struct.pack(">HHH", number, 1, target))
    _, end = heifs.find_box(data, b"meta", b"iref")
    changed = bytearray(data[:end] + reference + data[end:])
    for path in ((b"meta",), (b"meta", b"iref")):
        place = heifs.find_box(data, *path)[0]
        changed[place : place + 4] = (int.from_bytes(data[place : place + 4]) + len(reference)).to_bytes(4)
    return heifs.moved(bytes(changed), len(reference))
