"""PNGs that are decoded strip by strip, to compare large results with their source images."""

from __future__ import annotations

import numpy as np
import pytest

from inpainting.core.codecs import decode_image, encode_png
from inpainting.core.codecs.png.strips import PngStrips
from inpainting.core.errors import InvalidImage
from inpainting.core.image import CanonicalImage, Pixels
from tests.core import hostile


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_strips_are_the_rows_of_the_image(depth: type[np.uint8 | np.uint16], channels: int) -> None:
    pixels: Pixels = np.random.default_rng(5).integers(0, np.iinfo(depth).max, (1100, 1301, channels), depth)
    image, strips = CanonicalImage(pixels), PngStrips(encode_png(CanonicalImage(pixels), texts={"Title": "a lake"}))
    assert (strips.size, strips.mode, strips.bits) == (image.size, image.mode, image.bits)
    found = list(strips.strips())
    assert [top for top, _ in found] == list(np.cumsum([0, *(len(rows) for _, rows in found)])[:-1])
    assert len(found) > 1
    assert np.array_equal(np.concatenate([rows for _, rows in found]), pixels)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_file_that_ends_early_is_refused(share: float) -> None:
    file = encode_png(CanonicalImage(hostile.photo()))
    with pytest.raises(InvalidImage, match="damaged"):
        list(PngStrips(file[: int(share * len(file))]).strips())


def test_rows_that_are_missing_or_left_over_are_refused() -> None:
    tall, low = (encode_png(CanonicalImage(hostile.photo(40, height))) for height in (30, 29))
    start = 8 + 25  # signature and header
    for mixed in (tall[:start] + low[start:], low[:start] + tall[start:]):
        with pytest.raises(InvalidImage, match="not as it was written"):
            list(PngStrips(mixed).strips())


def test_another_programs_png_is_refused() -> None:
    file = hostile.saved(hostile.rgb(), "PNG")
    assert decode_image(file).image.size.width
    with pytest.raises(InvalidImage, match="not as it was written"):
        list(PngStrips(file).strips())
