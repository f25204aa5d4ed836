"""AVIF and HEIC files that lie about what they hold, each with the code of its refusal."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from skimage import data

from inpainting.core.codecs.heif.boxes import box
from inpainting.core.codecs.heif.items import MAX_PROPERTY_BYTES, Property
from tests.core import heif_grids, heifs

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


EMPTY_UNIT = b"\x7a\0"
"""The smallest open bitstream unit of AV1: of padding, with its size."""


def grid_of_units() -> bytes:
    """An AVIF of 4 tiles, of which each has 3,000 units."""
    (image,) = heif_grids.images_of(heifs.avif(RGB[:64, :64]))
    return heif_grids.grid([[replace(image, body=image.body + 3000 * EMPTY_UNIT)]] * 4, columns=2)


def avif_grid_of_configurations() -> bytes:
    """An AVIF of 900 tiles that share one configuration of 2,046 units."""
    (image,) = heif_grids.images_of(heifs.avif(RGB[:64, :64], quality=1))
    (own,) = (item_property.body for item_property in image.properties if item_property.kind == b"av1C")
    configuration = own[:4] + (MAX_PROPERTY_BYTES - 4) // 2 * EMPTY_UNIT
    return heif_grids.grid([[heif_grids.with_configuration(image, b"av1C", configuration)]] * 900, columns=30)


def heic_grid_of_configurations(count: int = 1) -> bytes:
    """A HEIC of 900 tiles that share so many configurations, each of nearly 2,000 units."""
    (image,) = heif_grids.images_of(heifs.heic(np.ascontiguousarray(RGB[:64, :64]), quality=1))
    (own,) = (item_property.body for item_property in image.properties if item_property.kind == b"hvcC")
    most = (MAX_PROPERTY_BYTES - len(own) - 3) // 2
    tiles = []
    for number in range(count):
        empty_units = b"\xa7" + struct.pack(">H", most - number) + bytes(2 * (most - number))
        configuration = own[:22] + bytes([own[22] + 1]) + own[23:] + empty_units
        tiles.append([heif_grids.with_configuration(image, b"hvcC", configuration)])
    return heif_grids.grid(tiles * (900 // count), columns=30)


def grid_of_properties(count: int) -> bytes:
    """An AVIF of 900 tiles that share so many properties of 4,096 bytes, beside those that they need."""
    (image,) = heif_grids.images_of(heifs.avif(RGB[:64, :64]))
    more = tuple(Property(b"auxC", number.to_bytes(MAX_PROPERTY_BYTES), False) for number in range(count))
    return heif_grids.grid([[replace(image, properties=image.properties + more)]] * 900, columns=30)


def grid_with_alpha(*, in_all: bool) -> bytes:
    """A HEIC of 2 tiles, of which the first or both have alpha."""
    opaque = RGB[:64, :64]
    with_alpha = heif_grids.images_of(heifs.heic(np.dstack([opaque, opaque[:, :, 0]])))
    return heif_grids.grid([with_alpha, with_alpha if in_all else with_alpha[:1]], columns=2)


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
    "tiles of 12,000 units": (grid_of_units, "too_complex"),
    "configurations of 12,000 units": (lambda: heic_grid_of_configurations(6), "too_complex"),
    "tiles of 68 properties": (lambda: grid_of_properties(64), "too_complex"),
    "tiles of which one has alpha": (lambda: grid_with_alpha(in_all=False), "damaged"),
    "tiles of which one is premultiplied": (
        lambda: heif_grids.with_reference(grid_with_alpha(in_all=True), b"prem", 2, 3),
        "damaged",
    ),
    "5,000 boxes": (lambda: heif_with_boxes(5000), "too_complex"),
    "an item of another kind": (lambda: heifs.replaced(heifs.avif(RGB), b"av01", b"jpeg"), "type_unsupported"),
    "an essential feature": (lambda: heifs.with_property(heifs.avif(RGB), b"lsel", b"\0\1"), "type_unsupported"),
    "a crop beyond the image": (
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
