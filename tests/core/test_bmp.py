"""BMP: every depth, direction and mask of the format, and a refusal of what contradicts itself."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from inpainting.core.codecs import decode_image
from inpainting.core.errors import InvalidImage
from tests.core import hostile

PHOTO = hostile.photo(41, 30)
"""41 wide, so that rows of every depth are padded."""


def bmp(
    body: bytes,
    *,
    size: tuple[int, int] = (41, 30),
    bits: int = 24,
    compression: int = 0,
    more: bytes = b"",
    header: int = 40,
    colours: int = 0,
    start: int | None = None,
) -> bytes:
    """A BMP with an info header. more: what follows the first 40 bytes of the header."""
    place = 14 + 40 + len(more) if start is None else start
    info = struct.pack("<IiiHHIIiiII", header, *size, 1, bits, compression, len(body), 0, 0, colours, 0)
    return struct.pack("<2sIHHI", b"BM", place + len(body), 0, 0, place) + info + more + body


def rows(pixels: np.ndarray) -> bytes:
    """Padded to four bytes, from the bottom up."""
    flat = np.ascontiguousarray(pixels[::-1]).reshape(len(pixels), -1).view(np.uint8)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_what_pillow_writes_is_read_exactly(mode: str) -> None:
    image = Image.fromarray(PHOTO).convert(mode)
    decoded = decode_image(hostile.saved(image, "BMP"))
    assert (decoded.format, decoded.warnings) == ("BMP", ())
    assert np.array_equal(decoded.image.pixels.squeeze(), np.asarray(image.convert("L" if mode == "1" else mode)))


def test_a_palette_becomes_true_colour() -> None:
    image = Image.fromarray(PHOTO).quantize(60)
    decoded = decode_image(hostile.saved(image, "BMP"))
    assert np.array_equal(decoded.image.pixels, np.asarray(image.convert("RGB")))
    assert decoded.warnings == ("The image has a palette; it is kept in true colour.",)


def test_alpha_is_kept_where_the_header_has_a_mask_for_it() -> None:
    pixels = np.dstack([PHOTO, PHOTO[:, :, 0]])
    _, file = cv2.imencode(".bmp", pixels[:, :, [2, 1, 0, 3]])
    assert np.array_equal(decode_image(file.tobytes()).image.pixels, pixels)
    unmasked = decode_image(hostile.saved(Image.fromarray(pixels), "BMP")).image
    assert np.array_equal(unmasked.pixels, PHOTO), "the fourth byte means nothing without a mask"


def test_a_negative_height_runs_downwards() -> None:
    bottom_up = rows(PHOTO[:, :, ::-1])
    top_down = rows(PHOTO[::-1, :, ::-1])
    assert np.array_equal(decode_image(bmp(bottom_up)).image.pixels, PHOTO)
    assert np.array_equal(decode_image(bmp(top_down, size=(41, -30))).image.pixels, PHOTO)


def test_sixteen_bits_are_spread_over_the_whole_range() -> None:
    values = np.array([[0x7FFF, 0, 0x7C00, 0x03E0, 0x001F, 16 << 5]], np.uint16)
    decoded = decode_image(bmp(rows(values), size=(6, 1), bits=16)).image.pixels
    expected = [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 132, 0]]
    assert decoded[0].tolist() == expected
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    fields = bmp(rows(np.array([[0xFFFF, 32 << 5]], np.uint16)), size=(2, 1), bits=16, compression=3, more=masks)
    assert decode_image(fields).image.pixels[0].tolist() == [[255, 255, 255], [0, 130, 0]]


def test_run_lengths_are_read() -> None:
    grey = bytes(value for level in range(256) for value in (level, level, level, 0))
    body = b"\4\7" + b"\0\0" + b"\0\3\1\2\3\0" + b"\1\x09" + b"\0\1"  # from the bottom: four of 7; 1, 2, 3 and a 9
    decoded = decode_image(bmp(body, size=(4, 2), bits=8, compression=1, more=grey))
    assert decoded.image.pixels[:, :, 0].tolist() == [[1, 2, 3, 9], [7, 7, 7, 7]]


def test_an_os2_header_is_read() -> None:
    body = rows(PHOTO[:, :, ::-1])
    file = struct.pack("<2sIHHI", b"BM", 26 + len(body), 0, 0, 26) + struct.pack("<IHHHH", 12, 41, 30, 1, 24) + body
    assert np.array_equal(decode_image(file).image.pixels, PHOTO)


def test_an_embedded_profile_is_kept() -> None:
    profile, body = hostile.srgb_profile(), rows(PHOTO[:, :, ::-1])
    more = bytearray(84)
    more[16:20] = b"DEBM"
    more[72:80] = struct.pack("<II", 124 + len(body), len(profile))
    decoded = decode_image(bmp(body + profile, more=bytes(more), header=124))
    assert (decoded.image.icc_profile, decoded.warnings) == (profile, ())
    assert np.array_equal(decoded.image.pixels, PHOTO)


MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "60000x60000": (lambda: bmp(b"", size=(60_000, 60_000)), "dimensions"),
    "a height of -2^31": (lambda: bmp(b"", size=(1, -(2**31))), "dimensions"),
    "0 wide": (lambda: bmp(b"", size=(0, 5)), "too_small"),
    "a negative width": (lambda: bmp(b"", size=(-5, 5)), "damaged"),
    "a header of 13 bytes": (lambda: bmp(b"", header=13), "damaged"),
    "3 bits": (lambda: bmp(bytes(9000), bits=3), "damaged"),
    "a JPEG inside": (lambda: bmp(hostile.jpeg(), bits=0, compression=4), "type_unsupported"),
    "run lengths that run downwards": (lambda: bmp(b"\0\1", size=(4, -4), bits=8, compression=1), "damaged"),
    "run lengths of nothing": (lambda: bmp(b"", bits=8, compression=1, more=bytes(1024)), "damaged"),
    "a palette of 2^32-1 colours": (
        lambda: bmp(bytes(9000), bits=8, more=bytes(1024), colours=2**32 - 1),
        "damaged",
    ),
    "no palette": (lambda: bmp(bytes(9000), bits=8), "damaged"),
    "masks with a hole": (
        lambda: bmp(bytes(9000), bits=32, compression=3, more=struct.pack("<III", 0xF0F000, 0xFF, 0xF00)),
        "damaged",
    ),
    "no masks": (lambda: bmp(bytes(9000), bits=32, compression=3, more=bytes(12)), "damaged"),
    "masks beyond 16 bits": (lambda: bmp(bytes(9000), bits=16, compression=3, more=MASKS), "damaged"),
    "pixels beyond the end": (lambda: bmp(rows(PHOTO), start=10**9), "damaged"),
    "a profile of 4 GB": (
        lambda: bmp(rows(PHOTO), more=bytes(16) + b"DEBM" + bytes(52) + b"\xff" * 8 + bytes(4), header=124),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_files_are_refused(name: str) -> None:
    build, code = REFUSED[name]
    with pytest.raises(InvalidImage) as refusal:
        decode_image(build())
    assert refusal.value.code == f"image_{code}", refusal.value.message


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_file_cut_at_any_byte_is_refused(mode: str) -> None:
    file = hostile.saved(Image.fromarray(PHOTO[:6, :6]).convert(mode), "BMP")
    for end in range(len(file)):
        with pytest.raises(InvalidImage):
            decode_image(file[:end])
