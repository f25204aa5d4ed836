"""Writes an AVIF or HEIC of the items that the image is decoded from, and of nothing else."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from inpainting.core.codecs.heif.boxes import box, full_box
from inpainting.core.codecs.heif.items import Property


@dataclass(frozen=True, slots=True)
class WrittenItem:
    """An item to write. References are positions in the list of items: `tiles` of a grid; `alpha_of`, the item it is
    the alpha of."""

    kind: bytes
    body: bytes
    properties: tuple[Property, ...]
    tiles: tuple[int, ...] = ()
    alpha_of: int | None = None


def write_heif(brand: bytes, items: list[WrittenItem]) -> bytes:
    """Return the file of these items, of which the first is the image.

    brand: b"avif" or b"heic".
    """
    file_type = box(b"ftyp", brand, struct.pack(">I", 0), brand, b"mif1", b"miaf")
    # The locations have the same length whatever they are, so the length of meta is known before them.
    start = len(file_type) + len(_meta(items, 0)) + 8
    return b"".join([file_type, _meta(items, start), box(b"mdat", *(item.body for item in items))])


def _meta(items: list[WrittenItem], start: int) -> bytes:
    """Return the box `meta`. start: where the first item's body lies in the file."""
    count = struct.pack(">H", len(items))
    infos, places, references = [], [], []
    for number, item in enumerate(items, 1):
        infos.append(full_box(b"infe", 2, 0, struct.pack(">HH", number, 0), item.kind, b"\0"))
        places.append(struct.pack(">HHHII", number, 0, 1, start, len(item.body)))
        start += len(item.body)
        if item.tiles:
            references.append(_reference(b"dimg", number, item.tiles))
        if item.alpha_of is not None:
            references.append(_reference(b"auxl", number, (item.alpha_of,)))
    return full_box(
        b"meta",
        0,
        0,
        full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", 0, 0, struct.pack(">H", 1)),
        full_box(b"iloc", 0, 0, b"\x44\0", count, *places),
        full_box(b"iinf", 0, 0, count, *infos),
        full_box(b"iref", 0, 0, *references) if references else b"",
        _properties(items),
    )


def _reference(kind: bytes, number: int, targets: tuple[int, ...]) -> bytes:
    return box(kind, struct.pack(">HH", number, len(targets)), *(struct.pack(">H", 1 + target) for target in targets))


def _properties(items: list[WrittenItem]) -> bytes:
    indices: dict[tuple[bytes, bytes], int] = {}  # by kind and body, whose hash is kept: many items may share one
    entries = []
    for number, item in enumerate(items, 1):
        entries.append(struct.pack(">HB", number, len(item.properties)))
        for prop in item.properties:
            index = indices.setdefault((prop.kind, prop.body), len(indices) + 1)
            entries.append(struct.pack(">H", prop.is_essential << 15 | index))
    associations = full_box(b"ipma", 0, 1, struct.pack(">I", len(items)), *entries)
    return box(b"iprp", box(b"ipco", *(box(kind, body) for kind, body in indices)), associations)
