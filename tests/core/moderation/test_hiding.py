"""Hidden pixels are unrecognisable, and nothing outside the mask changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.moderation.hiding import CELLS, GREY, WHITE, hide
from inpainting.core.settings_table import SAFETY_TYPES


def in_shape(mode: str, bits: int) -> CanonicalImage:
    pixels: Pixels = np.asarray(data.astronaut()[:300, :400], np.uint8)
    if mode in ("L", "LA"):
        pixels = pixels[:, :, :1]
    if mode in ("LA", "RGBA"):
        rows = np.linspace(0, 255, pixels.shape[0]).astype(np.uint8)
        pixels = np.concatenate([pixels, np.repeat(rows[:, None, None], pixels.shape[1], 1)], axis=2)
    return CanonicalImage(pixels if bits == 8 else pixels.astype(np.uint16) * 257)


def soft_disc(height: int, width: int) -> Mask:
    """A disc with a soft edge, down to a value of 1."""
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - height / 2, x - width / 2) - min(height, width) / 3
    return np.clip(128 - far * 20, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("how", SAFETY_TYPES)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("bits", [8, 16])
def test_outside_and_the_alpha_stay_bit_for_bit(how: str, mode: str, bits: int) -> None:
    image = in_shape(mode, bits)
    mask = soft_disc(image.size.height, image.size.width)
    done = hide(image, mask, how)
    assert (done.mode, done.bits, done.size) == (mode, bits, image.size)
    assert np.array_equal(done.pixels[mask == 0], image.pixels[mask == 0])
    assert not np.array_equal(done.pixels[mask > 0], image.pixels[mask > 0])
    if image.alpha is not None and done.alpha is not None:
        assert np.array_equal(done.alpha, image.alpha)


@pytest.mark.parametrize("how", SAFETY_TYPES)
def test_pixels_of_the_faintest_mask_value_are_hidden_too(how: str) -> None:
    image = in_shape("RGB", 8)
    mask = np.ones((300, 400), np.uint8)
    full = np.full_like(mask, 255)
    assert hide(image, mask, how).equals(hide(image, full, how))


def with_text(text: str) -> NDArray[np.uint8]:
    """A photo with large text in it."""
    photo = data.coffee().copy()
    for line in range(3):
        cv2.putText(photo, text, (30, 110 + 110 * line), cv2.FONT_HERSHEY_SIMPLEX, 2.2, (255, 255, 255), 6)
    return photo


@pytest.mark.parametrize("how", SAFETY_TYPES)
def test_large_texts_cannot_be_distinguished_any_more(how: str) -> None:
    one, other = with_text("MEET AT NOON"), with_text("STAY AT HOME")
    mask = np.full(one.shape[:2], 255, np.uint8)
    before = np.abs(one.astype(int) - other).max()
    left = np.abs(
        hide(CanonicalImage(one), mask, how).pixels.astype(int) - hide(CanonicalImage(other), mask, how).pixels
    ).max()
    assert before > 200
    assert left < 25


def test_pixels_are_few_squares_and_a_blur_has_no_edges() -> None:
    photo = data.astronaut()
    mask = np.full(photo.shape[:2], 255, np.uint8)
    squares = hide(CanonicalImage(photo), mask, "pixelate").pixels
    assert len(np.unique(squares.reshape(-1, 3), axis=0)) <= CELLS**2
    soft = hide(CanonicalImage(photo), mask, "blur").pixels.astype(int)
    assert max(np.abs(np.diff(soft, axis=axis)).max() for axis in (0, 1)) <= 6
    assert np.abs(np.diff(photo.astype(int), axis=0)).max() > 200


def test_black_is_black_and_a_small_part_keeps_one_colour_at_most() -> None:
    photo = data.astronaut()
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[100:130, 200:230] = 255
    assert not hide(CanonicalImage(photo), mask, "black").pixels[mask > 0].any()
    for how in ("blur", "pixelate"):
        assert len(np.unique(hide(CanonicalImage(photo), mask, how).pixels[mask > 0], axis=0)) == 1


@pytest.mark.parametrize("side", [64, 128, 512, 2000])
def test_the_notice_fills_the_mask_at_any_size(side: int) -> None:
    photo = cv2.resize(data.chelsea(), (side, side))
    mask = np.full((side, side), 255, np.uint8)
    pixels = hide(CanonicalImage(photo), mask, "sensitive_content_text").pixels[:, :, 0]
    assert pixels[0, 0] == GREY
    columns = np.nonzero((pixels > (GREY + WHITE) // 2).any(axis=0))[0]
    assert (columns[-1] - columns[0]) / side > 0.7
    rows = (pixels > GREY + 40).any(axis=1).astype(int)
    assert np.count_nonzero(np.diff(rows) == 1) >= 2  # two lines of text


def test_the_notice_lies_wholly_in_a_mask_of_any_shape() -> None:
    photo = np.zeros((400, 900, 3), np.uint8)
    mask = np.zeros((400, 900), np.uint8)
    mask[:60, :] = 255  # a long bar and a disc far from it
    cv2.circle(mask, (450, 300), 80, 255, -1)
    bright = np.argwhere(hide(CanonicalImage(photo), mask, "sensitive_content_text").pixels[:, :, 0] > GREY + 60)
    whole = np.argwhere(
        hide(CanonicalImage(photo), np.full_like(mask, 255), "sensitive_content_text").pixels[..., 0] > GREY
    )
    assert len(bright)
    assert len(whole) > len(bright)
    assert bright[:, 0].max() < 60  # the bar has more room for it than the disc
    assert np.ptp(bright[:, 1]) > 200


def test_where_letters_would_be_illegible_there_is_plain_grey() -> None:
    photo = data.astronaut()
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[100:106, 200:260] = 255
    assert (hide(CanonicalImage(photo), mask, "sensitive_content_text").pixels[mask > 0] == GREY).all()


def test_an_empty_mask_hides_nothing() -> None:
    image = in_shape("RGB", 8)
    assert hide(image, np.zeros((300, 400), np.uint8), "black") is image
