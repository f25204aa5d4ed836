"""Reads the items of an AVIF or HEIC: coded images, the grids that join them, their properties and references.

ISO/IEC 14496-12, section 8.11 (pitm, iloc, iinf, iref), and ISO/IEC 23008-12, section 9 (iprp: ipco, ipma).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from inpainting.core.codecs.heif.boxes import BoxReader, boxes
from inpainting.core.codecs.intake import Intake

MAX_LINKS, MAX_PROPERTIES, MAX_LISTS = 4096, 64, 4
"""References of all items together, properties of one, and boxes ipma, of which a file needs at most four."""
GRID = b"grid"
IN_FILE, IN_META = 0, 1
"""Construction methods of iloc: offsets into the file, or into the box idat."""

MAX_PROPERTY_BYTES = 4096
"""The limit of each property but colour profiles: all items may name the same one, and it is read and written for
each."""


@dataclass(frozen=True, slots=True)
class Property:
    """A box of ipco, as one item has it."""

    kind: bytes
    body: bytes
    is_essential: bool  # a reader that does not know it cannot show the item


@dataclass(slots=True)
class Item:
    """An item of a HEIF file."""

    number: int
    kind: bytes
    properties: list[Property] = field(default_factory=list)
    # Parts of the file or of idat, each an offset and a length; a length of 0 reaches to the end.
    extents: list[tuple[int, int]] = field(default_factory=list)
    source: int = IN_FILE

    def properties_of(self, kind: bytes) -> list[bytes]:
        return [prop.body for prop in self.properties if prop.kind == kind]


@dataclass(frozen=True, slots=True)
class Items:
    """All items of a file."""

    data: bytes
    idat: bytes
    primary: Item
    by_number: dict[int, Item]
    # By kind and the number of the item that refers, the numbers it refers to.
    references: dict[tuple[bytes, int], list[int]]
    has_movie: bool
    intake: Intake

    def referred(self, kind: bytes, item: Item) -> list[Item]:
        """Return the items that an item refers to. Raises InvalidImage where one does not exist."""
        try:
            return [self.by_number[number] for number in self.references.get((kind, item.number), [])]
        except KeyError as error:
            raise self.intake.damage_error("its items are corrupt") from error

    def referring(self, kind: bytes, item: Item) -> list[Item]:
        """Return the items that refer to an item."""
        return [
            self.by_number[number]
            for (reference, number), targets in self.references.items()
            if reference == kind and item.number in targets and number in self.by_number
        ]

    def tiles(self, item: Item) -> list[Item]:
        """Return the tiles of a grid; none of another item."""
        return self.referred(b"dimg", item) if item.kind == GRID else []

    def check_bodies(self, items: Iterable[Item]) -> None:
        """Check the bytes of all items. Raises InvalidImage where the bytes of items lie outside of the file, or
        overlap to more than it has."""
        total = 0
        for item in items:
            source = self._source(item)
            for offset, length in item.extents:
                end = offset + length if length else len(source)
                total += end - offset
                if offset > end or end > len(source):
                    raise self.intake.damage_error("it ends early")
        if total > len(self.data):
            raise self.intake.damage_error("its parts overlap")

    def body(self, item: Item) -> bytes:
        """Return the bytes of an item that was checked."""
        source = self._source(item)
        return b"".join(source[offset : offset + length if length else None] for offset, length in item.extents)

    def _source(self, item: Item) -> bytes:
        return self.data if item.source == IN_FILE else self.idat


def read_items(data: bytes, intake: Intake) -> Items:
    """Read the box meta. Raises InvalidImage."""
    found: dict[bytes, bytes] = {}  # the first of each kind
    for kind, body in boxes(data, intake):
        found.setdefault(kind, body)
    if b"meta" not in found:
        if b"moov" in found:
            raise intake.refusal(
                "type_unsupported", "The {noun} file is a film without a still image; export one frame as PNG or JPEG."
            )
        raise intake.damage_error("it ends early")
    parts: dict[bytes, bytes] = {}
    for kind, body in boxes(found[b"meta"][4:], intake):
        parts.setdefault(kind, body)
    items = {item.number: item for item in _read_infos(BoxReader(parts.get(b"iinf", b""), intake))}
    _read_locations(BoxReader(parts.get(b"iloc", b""), intake), items)
    _read_properties(parts.get(b"iprp", b""), items, intake)
    reader = BoxReader(parts.get(b"pitm", b""), intake)
    version, _ = reader.version_and_flags()
    primary = items.get(reader.number(4 if version else 2))
    if primary is None:
        raise intake.damage_error("it holds no image data")
    references = _read_references(parts[b"iref"], intake) if b"iref" in parts else {}
    return Items(data, parts.get(b"idat", b""), primary, items, references, b"moov" in found, intake)


def auxiliary_kind(item: Item) -> bytes:
    """Return what an auxiliary image is for, a URN (ISO/IEC 23008-12, section 6.5.8); empty for other items."""
    return next((body[4:] for body in item.properties_of(b"auxC")), b"")


def _count(reader: BoxReader, size: int) -> int:
    count, limit = reader.number(size), reader.intake.limits.max_heif_items
    if count > limit:
        raise reader.intake.too_complex("items", limit=limit)
    return count


def _read_infos(reader: BoxReader) -> Iterator[Item]:
    version, _ = reader.version_and_flags()
    _count(reader, 4 if version else 2)
    for kind, body in boxes(reader.body[reader.position :], reader.intake):
        entry = BoxReader(body, reader.intake)
        version, _ = entry.version_and_flags()
        if kind == b"infe" and version >= 2:
            number = entry.number(4 if version > 2 else 2)
            entry.number(2)  # protection
            yield Item(number, entry.bytes(4))


def _read_locations(reader: BoxReader, items: dict[int, Item]) -> None:
    version, _ = reader.version_and_flags()
    sizes, more_sizes = reader.number(1), reader.number(1)
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more_sizes >> 4
    index_size = more_sizes & 15 if version else 0
    if not {offset_size, length_size, base_size, index_size} <= {0, 4, 8}:
        raise reader.intake.damage_error("its boxes are corrupt")
    id_size = 4 if version > 1 else 2
    extents = 0
    for _ in range(_count(reader, id_size)):
        item = items.get(reader.number(id_size))
        source = reader.number(2) & 15 if version else IN_FILE
        data_reference, base = reader.number(2), reader.number(base_size)
        count = reader.number(2)
        extents += count
        if extents > reader.intake.limits.max_heif_items:
            raise reader.intake.too_complex("parts of items", limit=reader.intake.limits.max_heif_items)
        places = []
        for _ in range(count):
            reader.number(index_size)
            places.append((base + reader.number(offset_size), reader.number(length_size)))
        if item is not None and source in (IN_FILE, IN_META) and not data_reference:
            item.extents, item.source = places, source


def _read_properties(body: bytes, items: dict[int, Item], intake: Intake) -> None:
    known: list[tuple[bytes, bytes]] = []
    lists = 0
    for kind, part in boxes(body, intake):
        if kind == b"ipco":
            known = list(boxes(part, intake))
        elif kind == b"ipma":
            lists += 1
            if lists > MAX_LISTS:
                raise intake.too_complex("lists of properties", limit=MAX_LISTS)
            _read_associations(BoxReader(part, intake), known, items)


def _read_associations(reader: BoxReader, known: list[tuple[bytes, bytes]], items: dict[int, Item]) -> None:
    version, flags = reader.version_and_flags()
    size = 2 if flags & 1 else 1
    essential = 0x80 << 8 * (size - 1)
    for _ in range(_count(reader, 4)):
        item = items.get(reader.number(4 if version else 2))
        count = reader.number(1)
        if item is not None and len(item.properties) + count > MAX_PROPERTIES:
            raise reader.intake.too_complex("properties of an item", limit=MAX_PROPERTIES)
        for _ in range(count):
            index = reader.number(size)
            number = index & ~essential
            if number > len(known):
                raise reader.intake.damage_error("its boxes are corrupt")
            if number and item is not None:
                kind, body = known[number - 1]
                if kind != b"colr" and len(body) > MAX_PROPERTY_BYTES:
                    raise reader.intake.too_complex("bytes of a property", limit=MAX_PROPERTY_BYTES)
                item.properties.append(Property(kind, body, bool(index & essential)))


def _read_references(body: bytes, intake: Intake) -> dict[tuple[bytes, int], list[int]]:
    reader = BoxReader(body, intake)
    version, _ = reader.version_and_flags()
    size, total = 4 if version else 2, 0
    found: dict[tuple[bytes, int], list[int]] = {}
    for kind, part in boxes(body[4:], intake):
        entry = BoxReader(part, intake)
        number, count = entry.number(size), _count(entry, 2)
        total += count
        if total > MAX_LINKS:
            raise intake.too_complex("references", limit=MAX_LINKS)
        found[kind, number] = [entry.number(size) for _ in range(count)]
    return found
