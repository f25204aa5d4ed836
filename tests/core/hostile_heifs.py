"""AVIF and HEIC files that lie about what they hold, each with the code of its refusal."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage import data

from inpainting.core.codecs.heif_boxes import box
from tests.core import heifs

RGB: NDArray[np.uint8] = data.astronaut()[:203, 100:297]


RGB_16: NDArray[np.uint16] = RGB.astype(np.uint16) * 257


def lying(write: Callable[[], bytes], width: int, height: int) -> bytes:
    """The file whose boxes ispe declare another size than its bitstream; with it, the crop of odd sides is lost."""
    file = write()
    begin, _ = heifs.find_box(file, b"meta", b"iprp", b"ipco", b"ispe")
    declared = file[begin + 4 : begin + 20]
    return heifs.replaced(file, declared, declared[:8] + struct.pack(">II", width, height))


def even(write: Callable[[NDArray[np.uint8]], bytes]) -> Callable[[], bytes]:
    return lambda: write(np.ascontiguousarray(RGB[:128, :192]))


def grid(declared: tuple[int, int, int, int]) -> bytes:
    """A HEIC of 4x4 tiles whose grid declares this last row, last column, width and height."""
    true = struct.pack(">BBHH", 3, 3, 197, 203)
    return heifs.replaced(heifs.heic(RGB, tile_size=64), true, struct.pack(">BBHH", *declared))


def overlapping_tiles() -> bytes:
    """A HEIC of which all items lie at the same place and reach to the end."""
    file = bytearray(heifs.heic(RGB, tile_size=64))
    begin, end = heifs.find_box(bytes(file), b"meta", b"iloc")
    for position in range(begin + 16 + 20, end, 20):  # behind the grid itself, which lies in idat
        struct.pack_into(">I", file, position + 6, 100)  # from there on
        struct.pack_into(">II", file, position + 12, 0, 0)  # to the end
    return bytes(file)


def heif_with_boxes(count: int) -> bytes:
    return heifs.avif(RGB) + box(b"free") * count


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "60000x60000": (lambda: lying(even(heifs.avif), 60_000, 60_000), "dimensions"),
    "HEIC of 60000x60000": (lambda: lying(even(heifs.heic), 60_000, 60_000), "dimensions"),
    "AVIF that is larger than it says": (lambda: lying(even(heifs.avif), 16, 16), "damaged"),
    "HEIC that is larger than it says": (lambda: lying(even(heifs.heic), 16, 16), "damaged"),
    "AVIF that is smaller than it says": (lambda: lying(even(heifs.avif), 4000, 4000), "damaged"),
    "HEIC that is smaller than it says": (lambda: lying(even(heifs.heic), 4000, 4000), "damaged"),
    "21 megapixels of 10 bits": (lambda: lying(lambda: heifs.deep_avif(RGB_16 >> 6, 10), 5000, 4200), "dimensions"),
    "0 wide": (lambda: lying(even(heifs.avif), 0, 16), "too_small"),
    "a grid of 60000x60000": (
        lambda: heifs.replaced(
            heifs.heic(RGB, tile_size=64),
            struct.pack(">BBHH", 3, 3, 197, 203),
            struct.pack(">BBHH", 3, 3, 60_000, 60_000),
        ),
        "dimensions",
    ),
    "a grid of other tiles": (
        lambda: grid((1, 7, 197, 203)),
        "damaged",
    ),
    "a grid of more tiles than it has": (
        lambda: heifs.replaced(
            heifs.heic(RGB, tile_size=64),
            struct.pack(">BBHH", 3, 3, 197, 203),
            struct.pack(">BBHH", 255, 255, 197, 203),
        ),
        "damaged",
    ),
    "tiles that overlap": (overlapping_tiles, "damaged"),
    "5,000 boxes": (lambda: heif_with_boxes(5000), "too_complex"),
    "an item of another kind": (lambda: heifs.replaced(heifs.avif(RGB), b"av01", b"jpeg"), "type_unsupported"),
    "an essential feature": (lambda: heifs.with_property(heifs.avif(RGB), b"lsel", b"\0\1"), "type_unsupported"),
    "a crop beyond the picture": (
        lambda: heifs.with_property(heifs.avif(RGB), b"clap", struct.pack(">IIIIiIiI", 400, 1, 30, 1, 0, 1, 0, 1)),
        "damaged",
    ),
    "a crop of a divisor of 0": (lambda: heifs.with_property(heifs.avif(RGB), b"clap", bytes(32)), "damaged"),
    "no items": (lambda: box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", bytes(4)), "damaged"),
    "a film alone": (lambda: box(b"ftyp", b"heic\0\0\0\0hevc") + box(b"moov", bytes(40)), "type_unsupported"),
    "a profile of 5 MiB": (
        lambda: heifs.with_property(heifs.avif(RGB), b"colr", b"prof" + bytes(5 * 2**20), is_essential=False),
        "damaged",
    ),
}
