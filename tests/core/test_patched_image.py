"""Results share with their source image what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from inpainting.core.codecs import encode_png, shrunk
from inpainting.core.codecs.formats import JPEG, WEBP, LossyCopy, encode_copy
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage, PatchedImage, Pixels

BOX = Box(7, 5, 19, 26)


def patched(depth: type[np.uint8 | np.uint16] = np.uint8, channels: int = 3) -> tuple[PatchedImage, CanonicalImage]:
    """A patched image, and the same image whole."""
    rng = np.random.default_rng(2)
    source: Pixels = rng.integers(0, np.iinfo(depth).max, (40, 30, channels), depth)
    patch: Pixels = rng.integers(0, np.iinfo(depth).max, (21, 12, channels), depth)
    whole = source.copy()
    whole[BOX.slices] = patch
    return PatchedImage(CanonicalImage(source, b"profile"), BOX, patch), CanonicalImage(whole, b"profile")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_it_is_the_whole_image_to_everything_that_reads_it(depth: type[np.uint8 | np.uint16], channels: int) -> None:
    image, whole = patched(depth, channels)
    assert image.equals(whole)
    names = ("size", "mode", "bits", "has_alpha", "icc_profile")
    assert [getattr(image, name) for name in names] == [getattr(whole, name) for name in names]
    assert encode_png(image) == encode_png(whole)
    assert shrunk(image, 8).equals(shrunk(whole, 8))


@pytest.mark.parametrize(("top", "bottom"), [(0, 5), (0, 6), (10, 20), (25, 40), (26, 40), (0, 40)])
def test_a_few_rows_are_those_of_the_whole(top: int, bottom: int) -> None:
    image, whole = patched()
    rows = image.rows(top, bottom)
    assert np.array_equal(rows, whole.pixels[top:bottom])
    assert not rows.flags.writeable


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("read", [partial(encode_copy, format=format, quality=80) for format in (JPEG, WEBP)])
def test_an_encoder_copies_the_whole_once(
    read: Callable[[CanonicalImage], LossyCopy], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, whole = patched(channels=channels)
    expected = read(whole)
    copies: list[tuple[int, int]] = []
    rows = PatchedImage.rows

    def counted(self: PatchedImage, top: int, bottom: int) -> Pixels:
        copies.append((top, bottom))
        return rows(self, top, bottom)

    monkeypatch.setattr(PatchedImage, "rows", counted)
    assert read(image) == expected
    assert copies == [(0, 40)]


def test_rows_beside_the_patch_are_not_copied() -> None:
    image, _ = patched()
    assert np.shares_memory(image.rows(0, 5), image.source.pixels)


def test_a_patch_of_another_shape_or_depth_is_refused() -> None:
    source = patched()[0].source
    for patch in (np.zeros((12, 21, 3), np.uint8), np.zeros((21, 12, 3), np.uint16), np.zeros((21, 12, 4), np.uint8)):
        with pytest.raises(InvalidRequest, match="a patch of"):
            PatchedImage(source, BOX, patch)
