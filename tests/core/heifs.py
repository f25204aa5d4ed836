"""AVIF and HEIC files for the codec tests: written by Pillow, OpenCV and libheif, and changed box by box."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from tests.core import hostile

CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that hold boxes, and the bytes before those."""


def avif(pixels: NDArray[np.uint8], **options: object) -> bytes:
    return hostile.saved(Image.fromarray(pixels), "AVIF", **{"quality": 95, "subsampling": "4:4:4", **options})


def deep_avif(pixels: NDArray[np.integer], bits: int) -> bytes:
    """Lossless. pixels: RGB of `bits` bits."""
    options = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, bits]
    return cv2.imencode(".avif", np.ascontiguousarray(pixels[:, :, ::-1]), options)[1].tobytes()


def heic(pixels: NDArray[np.uint8] | NDArray[np.uint16], **options: object) -> bytes:
    """Grey, RGB or RGBA of 8 bits, or RGB of 16, of which 10 are kept."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2]] + (";16" if pixels.itemsize == 2 else "")
    size = (pixels.shape[1], pixels.shape[0])
    image = pillow_heif.from_bytes(mode, size, np.ascontiguousarray(pixels).tobytes())
    file = io.BytesIO()
    image.save(file, **{"quality": 95, "chroma": 444, **options})
    return file.getvalue()


def find_box(data: bytes, *path: bytes, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """Where the first box of that path begins and ends."""
    position, last = start, len(data) if end is None else end
    while position < last:
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == path[0]:
            if len(path) == 1:
                return position, position + length
            return find_box(data, *path[1:], start=position + 8 + CONTAINERS[kind], end=position + length)
        position += length
    raise AssertionError(f"there is no {path}")


def with_property(data: bytes, kind: bytes, body: bytes, *, is_essential: bool = True) -> bytes:
    """The file with one more property of its first item. All places of iloc move behind it."""
    box = struct.pack(">I4s", 8 + len(body), kind) + body
    begin, end = find_box(data, b"meta", b"iprp", b"ipco")
    count, position = 0, begin + 8
    while position < end:
        position += int.from_bytes(data[position : position + 4])
        count += 1
    at, association_end = find_box(data, b"meta", b"iprp", b"ipma")
    entries = at + 8 + 4 + 4
    link = bytes([count + 1 | (0x80 if is_essential else 0)])
    used = data[entries + 2]
    insert = entries + 3 + used
    changed = bytearray(data)
    changed[entries + 2] = used + 1
    changed[insert:insert] = link
    changed[end:end] = box
    for path, more in (
        ((b"meta", b"iprp", b"ipco"), len(box)),
        ((b"meta", b"iprp"), len(box) + 1),
        ((b"meta",), len(box) + 1),
    ):
        place = find_box(data, *path)[0]
        changed[place : place + 4] = (int.from_bytes(data[place : place + 4]) + more).to_bytes(4)
    place = changed.index(b"ipma") - 4
    changed[place : place + 4] = (association_end - at + 1).to_bytes(4)
    return moved(bytes(changed), len(box) + 1)


def moved(data: bytes, distance: int) -> bytes:
    """The file after its box mdat has moved: with all offsets of iloc into the file (version 0 or 1) higher by that."""
    changed = bytearray(data)
    position = find_box(data, b"meta", b"iloc")[0] + 8
    version = data[position]
    (count,) = struct.unpack_from(">H", data, position + 6)
    base_bytes = data[position + 5] >> 4
    assert (data[position + 4], base_bytes) in ((0x44, 0), (0x44, 4))
    position += 8
    for _ in range(count):
        in_file = not version or not struct.unpack_from(">H", data, position + 2)[0]
        position += 6 if version else 4
        if base_bytes and in_file:
            (place,) = struct.unpack_from(">I", data, position)
            struct.pack_into(">I", changed, position, place + distance)
        position += base_bytes
        (extents,) = struct.unpack_from(">H", data, position)
        position += 2
        for _ in range(extents):
            if in_file and not base_bytes:
                (place,) = struct.unpack_from(">I", data, position)
                struct.pack_into(">I", changed, position, place + distance)
            position += 8
    return bytes(changed)


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """The file with every occurrence of some bytes in its box meta replaced by as many others."""
    assert len(old) == len(new)
    begin, end = find_box(data, b"meta")
    assert old in data[begin:end]
    return data[:begin] + data[begin:end].replace(old, new) + data[end:]
