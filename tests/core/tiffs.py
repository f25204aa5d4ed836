"""TIFF files for the codec tests, written tag by tag, so that every tag can lie."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs.intake import DEFAULT_LIMITS, Intake
from inpainting.core.codecs.tiff.directory import read_first_directory
from inpainting.core.image import Pixels
from tests.core import hostile

LZW, PACKBITS, DEFLATE = 5, 32773, 8
PILLOW_NAMES = {LZW: "tiff_lzw", PACKBITS: "packbits", DEFLATE: "tiff_adobe_deflate"}
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q", 7: "B", 12: "d", 13: "I", 16: "Q"}
"""BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE, IFD and LONG8, as struct names them."""
Value = int | Sequence[int] | bytes


def tiff(tags: Mapping[int, tuple[int, Value]], data: bytes = b"", *, order: str = "<", big: bool = False) -> bytes:
    """A TIFF of one directory. tags: type and value of each; the data begin at byte 16."""
    items, word, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    place = 16 + len(data)
    entries, more = [], b""
    end = place + struct.calcsize(items) + len(tags) * (struct.calcsize(f"{order}HH{word}") + inline) + inline
    for tag, (kind, value) in sorted(tags.items()):
        values = [value] if isinstance(value, int) else list(value)
        body = struct.pack(f"{order}{len(values)}{TYPES[kind]}", *values)
        if len(body) > inline:
            body, more = struct.pack(order + word, end + len(more)), more + body
        entries.append(struct.pack(f"{order}HH{word}", tag, kind, len(values)) + body.ljust(inline, b"\0"))
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, place) if big else struct.pack(f"{order}HI", 42, place)
    directory = struct.pack(order + items, len(tags)) + b"".join(entries) + bytes(inline)
    return (mark + head).ljust(16, b"\0") + data + directory + more


def image_tags(width: int = 40, height: int = 30, *, samples: int = 3, bits: int = 8) -> dict[int, tuple[int, Value]]:
    """The tags of an uncompressed image in one strip, which begins at byte 16."""
    return {
        256: (4, width),
        257: (4, height),
        258: (3, [bits] * samples),
        259: (3, 1),
        262: (3, 2 if samples > 2 else 1),
        273: (4, 16),
        277: (3, samples),
        278: (4, height),
        279: (4, -(-width * samples * bits // 8) * height),
    }


def photo_tiff(tags: Mapping[int, tuple[int, Value]] | None = None, **options: bool | str) -> bytes:
    """The photo of 40x30 pixels, uncompressed, with other or further tags."""
    return tiff({**image_tags(), **(tags or {})}, hostile.photo().tobytes(), **options)  # type: ignore[arg-type]


def without(tag: int) -> bytes:
    return tiff({number: value for number, value in image_tags().items() if number != tag}, hostile.photo().tobytes())


def compressed_by_libtiff(data: bytes, compression: int) -> bytes:
    """The bytes as one compressed strip of LZW, PackBits or Deflate."""
    row = Image.fromarray(np.frombuffer(data, np.uint8)[np.newaxis])
    file = hostile.saved(row, "TIFF", compression=PILLOW_NAMES[compression])
    directory = read_first_directory(file, Intake("image", DEFAULT_LIMITS))
    start = directory.number(273, 0)
    return file[start : start + directory.number(279, 0)]


def compressed_tiff(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    compression: int,
    *,
    order: str = "<",
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    predictor: bool = False,
) -> bytes:
    """Pixels [height, width, samples] in strips of `rows` rows or tiles of (width, height) pixels, each compressed."""
    height, width, samples = pixels.shape
    chunk_width, chunk_height = tile or (width, rows or height)
    chunks = []
    for top in range(0, height, chunk_height):
        for left in range(0, width, chunk_width):
            part = pixels[top : top + chunk_height, left : left + chunk_width]
            if tile:
                padding = ((0, chunk_height - part.shape[0]), (0, chunk_width - part.shape[1]), (0, 0))
                part = cast(Pixels, np.pad(part, padding))
            if predictor:
                part = np.diff(part, axis=1, prepend=part[:, :1] * 0)
            ordered = part if part.itemsize == 1 else part.astype(f"{order}u2")
            chunks.append(compressed_by_libtiff(ordered.tobytes(), compression))
    places = np.cumsum([16, *(len(chunk) for chunk in chunks)])[:-1].tolist()
    tags = image_tags(width, height, samples=samples, bits=8 * pixels.itemsize)
    tags |= {259: (3, compression), 317: (3, 2 if predictor else 1)}
    lengths = [len(chunk) for chunk in chunks]
    if tile:
        del tags[273], tags[278], tags[279]
        tags |= {322: (4, chunk_width), 323: (4, chunk_height), 324: (4, places), 325: (4, lengths)}
    else:
        tags |= {273: (4, places), 278: (4, chunk_height), 279: (4, lengths)}
    return tiff(tags, b"".join(chunks), order=order)


def jpeg_tiff(
    size: tuple[int, int],
    chunks: Sequence[bytes],
    *,
    side: int = 16,
    tags: Mapping[int, tuple[int, Value]] | None = None,
    tables: bytes = b"",
) -> bytes:
    """Tiles of `side` pixels that are JPEGs, of grey where `tags` state nothing else. tables: that they share."""
    places = np.cumsum([16, *(len(chunk) for chunk in chunks)])[:-1].tolist()
    all_tags = {**image_tags(*size, samples=1), 259: (3, 7), 322: (3, side), 323: (3, side)}
    for tag in (273, 278, 279):
        del all_tags[tag]
    all_tags |= {324: (4, places), 325: (4, [len(chunk) for chunk in chunks])}
    if tables:
        all_tags[347] = (7, tables)
    return tiff({**all_tags, **(tags or {})}, b"".join(chunks))


def by_tifffile(pixels: NDArray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)  # type: ignore[arg-type]
    return file.getvalue()
