"""The quality of a JPEG, estimated from its quantisation tables."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from skimage import data as photos

from inpainting.core.codecs import decode_image, encode_png
from inpainting.core.codecs.formats import default_quality
from inpainting.core.codecs.jpeg_quality import tables_in
from inpainting.core.metadata import ImageMetadata
from tests.core import hostile
from tests.support.matrix import each_value_once


def saved(mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photos.chelsea()[:64, :64]).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def estimate(data: bytes) -> int | None:
    return decode_image(data).image.metadata.jpeg_quality


@pytest.mark.parametrize(
    ("mode", "options"),
    each_value_once(["RGB", "L", "CMYK"], [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}]),
)
def test_the_quality_of_scaled_example_tables_is_found(mode: str, options: dict[str, object]) -> None:
    qualities = [1, 10, 49, 50, 51, *range(70, 101)]
    assert [estimate(saved(mode, quality=quality, **options)) for quality in qualities] == qualities


def test_tables_of_16_bits_are_read() -> None:
    """A baseline decoder may refuse them, so the file's frame is declared as extended sequential (T.81 B.2.4.1)."""
    data = saved(quality=83)
    wide = data.replace(b"\xff\xc0", b"\xff\xc1")
    for table in (0, 1):
        at = wide.index(b"\xff\xdb\x00\x43" + bytes([table]))
        body = b"".join(bytes([0, one]) for one in wide[at + 5 : at + 69])
        wide = wide[:at] + b"\xff\xdb\x00\x83" + bytes([16 + table]) + body + wide[at + 69 :]
    assert estimate(wide) == 83


def test_other_tables_get_the_closest_quality() -> None:
    """Of Photoshop's "Save as" at 10 and of cameras: flatter than the example tables."""
    flat = [[3] * 64, [4] * 64]
    steep = [[4, *range(5, 68)], [6, *range(7, 70)]]
    estimates = [estimate(saved(qtables=tables)) for tables in (flat, steep)]
    assert all(estimate is not None for estimate in estimates)
    assert 90 <= (estimates[0] or 0) <= 98
    assert 60 <= (estimates[1] or 0) <= 80


@pytest.mark.parametrize("damaged", [b"", b"\x00", b"\x00" + b"\x01" * 63, b"\x10" + b"\x01" * 127])
def test_a_table_that_ends_early_is_not_read(damaged: bytes) -> None:
    whole = b"\x01" + bytes(range(1, 65))
    assert [(number, table.sum()) for number, table in tables_in(whole + damaged)] == [(1, 2080)]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_only_a_jpeg_has_a_quality(format: str) -> None:
    file = io.BytesIO()
    Image.fromarray(photos.chelsea()[:64, :64]).save(file, format)
    assert estimate(file.getvalue()) is None


def test_a_stored_image_keeps_the_quality_of_its_file() -> None:
    image = decode_image(saved(quality=93)).image
    assert estimate(encode_png(image)) is None
    assert estimate(encode_png(image, metadata=image.metadata)) == 93
    for value in (b"", b"\x00", b"\xff"):
        assert estimate(hostile.tiny_png(hostile.chunk(b"jpQu", value))) is None


def test_the_default_of_copies_is_between_75_and_98() -> None:
    assert [default_quality(ImageMetadata(quality)) for quality in (1, 75, 90, 98, 100, None)] == [
        75,
        75,
        90,
        98,
        98,
        85,
    ]
