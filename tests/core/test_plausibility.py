"""The plausibility score agrees with the eye on what lies in a hole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.plausibility import plausibility_score

Bytes = NDArray[np.uint8]
SIDE = 72


def photo(name: str) -> Bytes:
    pixels: Bytes = getattr(data, name)()
    return pixels if pixels.ndim == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)


def hole(pixels: Bytes, top: int, left: int) -> Mask:
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[top : top + SIDE, left : left + SIDE] = 255
    return mask


def score(pixels: Bytes, mask: Mask) -> float:
    found = plausibility_score(CanonicalImage(pixels), mask)
    assert found is not None
    assert 0 <= found <= 1
    return found


def moved(pixels: Bytes, mask: Mask, down: int, right: int) -> Bytes:
    """Copy the content of the hole from elsewhere, without blending."""
    return np.where(mask[:, :, np.newaxis] > 0, np.roll(pixels, (-down, -right), (0, 1)), pixels)


def noise(pixels: Bytes, mask: Mask) -> Bytes:
    """The hole in the mean colour of what is kept, with noise of its variance."""
    kept, rng = pixels[mask == 0].astype(np.float64), np.random.default_rng(0)
    filled = pixels.copy()
    grain = rng.standard_normal((np.count_nonzero(mask), 3))
    filled[mask > 0] = np.clip(kept.mean(axis=0) + kept.std(axis=0) * grain, 0, 255)
    return filled


def telea(pixels: Bytes, mask: Mask) -> Bytes:
    return np.asarray(cv2.inpaint(pixels, mask, 3, cv2.INPAINT_TELEA), np.uint8)


# The hole's top and left, and a distance down and to the right at which similar content lies.
TEXTURES = {"brick": (220, 200, 0, 149), "gravel": (200, 210, 60, 140), "grass": (180, 220, 40, -150)}
OBJECTS = {"astronaut": (370, 120), "coffee": (180, 390), "rocket": (180, 300)}


@pytest.mark.parametrize("name", TEXTURES)
def test_own_content_then_a_copy_then_a_blur_then_noise(name: str) -> None:
    top, left, down, right = TEXTURES[name]
    own = photo(name)
    mask = hole(own, top, left)
    copied, blurred, grain = (
        score(each, mask) for each in (moved(own, mask, down, right), telea(own, mask), noise(own, mask))
    )
    assert score(own, mask) > copied - 0.02  # a copy that fits may be as good
    assert copied > blurred > grain


@pytest.mark.parametrize("name", OBJECTS)
def test_noise_scores_below_the_photo(name: str) -> None:
    own = photo(name)
    mask = hole(own, *OBJECTS[name])
    assert score(own, mask) > score(noise(own, mask), mask) + 0.05


def test_what_fits_the_place_scores_above_what_lies_elsewhere_in_the_photo() -> None:
    rocket = photo("rocket")
    mask = hole(rocket, 60, 80)
    sky, ground = moved(rocket, mask, 0, 100), moved(rocket, mask, 290, 0)
    assert score(sky, mask) > score(ground, mask) + 0.1


def test_a_seam_lowers_the_score() -> None:
    own = photo("gravel")
    mask = hole(own, 200, 210)
    scores = []
    for step in (0, 30, 60):
        brighter = own.copy()
        brighter[210:240, 220:270] = np.clip(brighter[210:240, 220:270].astype(np.int16) + step, 0, 255)
        scores.append(score(brighter, mask))
    assert scores == sorted(scores, reverse=True)


def test_16_bits_and_transparent_surroundings_count_as_they_look() -> None:
    own = photo("chelsea")
    mask = hole(own, 90, 120)
    expected = score(own, mask)
    deep = CanonicalImage(own.astype(np.uint16) * 257)
    assert plausibility_score(deep, mask) == pytest.approx(expected, abs=0.02)
    opaque = CanonicalImage(np.dstack([own, np.full(own.shape[:2], 255, np.uint8)]))
    assert plausibility_score(opaque, mask) == pytest.approx(expected, abs=0.02)
    nothing_kept = CanonicalImage(np.dstack([own, mask]))
    assert plausibility_score(nothing_kept, mask) is None


def test_there_is_no_score_where_nothing_can_be_compared() -> None:
    own = photo("chelsea")
    assert plausibility_score(CanonicalImage(own), np.zeros(own.shape[:2], np.uint8)) is None
    assert plausibility_score(CanonicalImage(own), np.full(own.shape[:2], 255, np.uint8)) is None
    scratches = np.zeros(own.shape[:2], np.uint8)
    scratches[::9] = 255
    assert plausibility_score(CanonicalImage(own), scratches) is None
    tiny = np.zeros((5, 4, 1), np.uint8)
    assert plausibility_score(CanonicalImage(tiny), np.eye(5, 4, dtype=np.uint8)) is None


def test_a_spot_in_a_flat_image_lowers_the_score() -> None:
    grey = np.full((120, 160, 3), 130, np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[40:80, 60:100] = 255
    spot = grey.copy()
    spot[50:70, 70:90] = 200
    assert score(spot, mask) < score(grey, mask) - 0.1
