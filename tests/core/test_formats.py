"""Lossy copies: format, depth, alpha, profile, size."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from inpainting.core.codecs import decode_image
from inpainting.core.codecs.formats import (
    EXTENSIONS,
    JPEG,
    PNG,
    WEBP,
    check_fits,
    copy_for,
    describe_losses,
    encode_copy,
    format_of,
)
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import PaintSettings

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHANNELS: dict[str, Any] = {"L": slice(0, 1), "LA": [0, 1], "RGB": slice(0, 3), "RGBA": [0, 1, 2, 0]}


def image(photo: NDArray[np.uint8], mode: str, bits: int) -> CanonicalImage:
    """The photo with another mode and depth; its alpha falls from left to right."""
    pixels: Any = photo[:, :, CHANNELS[mode]].copy()
    if mode.endswith("A"):
        pixels[:, :, -1] = np.linspace(255, 0, photo.shape[1])
    return CanonicalImage(pixels.astype(np.uint16) * 257 if bits == 16 else pixels)


@pytest.mark.parametrize("format", [JPEG, WEBP])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", CHANNELS)
def test_every_image_has_a_copy_that_looks_like_it(photo: NDArray[np.uint8], format: str, mode: str, bits: int) -> None:
    original = image(photo, mode, bits)
    copy = encode_copy(original, format, 95)
    read = np.asarray(Image.open(io.BytesIO(copy.data)).convert("RGBA")).astype(int)
    assert copy.data == encode_copy(original, format, 95).data
    assert decode_image(copy.data).image.size == original.size
    shown = np.dstack([photo[:, :, :1]] * 3) if mode.startswith("L") else photo
    alpha = np.linspace(255, 0, photo.shape[1]).astype(np.uint8).astype(int)[None, :, None]
    if not mode.endswith("A"):
        alpha = np.full_like(alpha, 255)
    if format == JPEG:
        assert np.abs(read[:, :, :3] - (shown * alpha + 255 * (255 - alpha)) / 255).mean() < 3
    else:
        assert np.array_equal(read[:, :, 3:], np.broadcast_to(alpha, (*shown.shape[:2], 1)))
        assert (np.abs(read[:, :, :3] - shown) * alpha / 255).mean() < 3


@pytest.mark.parametrize("format", [JPEG, WEBP])
def test_the_colour_profile_is_kept(photo: NDArray[np.uint8], format: str) -> None:
    copy = encode_copy(CanonicalImage(photo, SRGB), format, 85)
    assert Image.open(io.BytesIO(copy.data)).info["icc_profile"] == SRGB


def test_a_higher_quality_is_closer_and_larger(photo: NDArray[np.uint8]) -> None:
    for format in (JPEG, WEBP):
        copies = [encode_copy(CanonicalImage(photo), format, quality).data for quality in (1, 50, 100)]
        errors = [np.abs(decode_image(data).image.pixels - photo.astype(int)).mean() for data in copies]
        assert sorted(map(len, copies)) == list(map(len, copies))
        assert sorted(errors, reverse=True) == errors


@pytest.mark.parametrize("format", [JPEG, WEBP])
def test_the_quality_is_lowered_until_the_file_is_small_enough(photo: NDArray[np.uint8], format: str) -> None:
    large = CanonicalImage(np.tile(photo, (6, 6, 1)))
    whole = encode_copy(large, format, 90)
    kilobytes = len(whole.data) // 2000
    copy = encode_copy(large, format, 90, max_kilobytes=kilobytes)
    assert copy.fits
    assert len(copy.data) <= kilobytes * 1000 < len(encode_copy(large, format, copy.quality + 1).data)
    unlimited = encode_copy(large, format, 90, max_kilobytes=len(whole.data) // 1000 + 1)
    assert (unlimited.quality, unlimited.data) == (90, whole.data)
    impossible = encode_copy(large, format, 90, max_kilobytes=1)
    assert (impossible.fits, impossible.quality) == (False, 1)


def test_the_quality_of_a_webp_is_lowered_until_the_format_can_hold_the_image(
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libwebp refuses 40 megapixels of noise at quality 100, which take 10 seconds."""
    save = Image.Image.save

    def refusing(image: Image.Image, file: Any, format: str, *, quality: int, **options: Any) -> None:
        if quality > 70:
            raise ValueError("encoding error 6")
        save(image, file, format, quality=quality, **options)

    monkeypatch.setattr(Image.Image, "save", refusing)
    copy = encode_copy(CanonicalImage(photo), WEBP, 100)
    assert (copy.quality, copy.fits) == (70, True)


def test_losses_name_depth_and_transparency(photo: NDArray[np.uint8]) -> None:
    lost = {
        (mode, bits, format): " ".join(describe_losses(image(photo, mode, bits), format))
        for mode in CHANNELS
        for bits in (8, 16)
        for format in (PNG, JPEG, WEBP)
    }
    for (mode, bits, format), text in lost.items():
        assert ("16 bits" in text) == (bits == 16 and format != PNG)
        assert ("transparen" in text and "white" in text) == (mode.endswith("A") and format == JPEG)


def test_settings_choose_the_format_and_quality(photo: NDArray[np.uint8]) -> None:
    default, low = (copy_for(CanonicalImage(photo), PaintSettings(output_format="webp", quality=q)) for q in (None, 3))
    assert (default.format, default.quality, low.quality) == (WEBP, 85, 3)


def test_a_file_name_names_its_format() -> None:
    assert {format: format_of(f"a.b.{extension}") for format, extension in EXTENSIONS.items()} == dict(
        zip(EXTENSIONS, EXTENSIONS, strict=True)
    )
    assert (format_of("A.JPEG"), format_of("a.gif"), format_of("png"), format_of("a/png")) == (JPEG, None, None, None)


def test_a_image_wider_than_webp_holds_is_refused_before_it_is_painted() -> None:
    for format in (PNG, JPEG):
        check_fits(Size(16_384, 8), format)
    check_fits(Size(16_383, 8), WEBP)
    encode_copy(CanonicalImage(np.zeros((1, 16_383, 3), np.uint8)), WEBP, 80)
    with pytest.raises(InvalidRequest, match="at most 16383 pixels a side") as refused:
        check_fits(Size(8, 16_384), WEBP)
    assert refused.value.field == "output_format"
