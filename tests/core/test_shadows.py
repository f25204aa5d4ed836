"""The shadow or the mirror image of an object is found where there is one, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from skimage import data

from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.shadows import find_shadow
from tests.support.shadows import (
    FOOT,
    SUNLIGHT,
    Bytes,
    box,
    darkened,
    gravel,
    ground,
    placed,
    shadow_of,
    with_cast_shadow,
    with_mirror_image,
)


def found(image: Bytes, mask: Mask) -> Mask:
    return find_shadow(CanonicalImage(image), mask)


def shares(found: Mask, truth: Mask, mask: Mask) -> tuple[float, float]:
    """How much of the truth was found, and how much of what was found beyond the mask is true."""
    beyond = (found > 0) & (mask == 0)
    both = np.count_nonzero(beyond & (truth > 0))
    return both / np.count_nonzero((truth > 0) & (mask == 0)), both / max(int(np.count_nonzero(beyond)), 1)


@pytest.mark.parametrize(
    ("make_ground", "aside", "ratio"),
    [
        (gravel, 0.6, SUNLIGHT),
        (gravel, -0.9, (0.4, 0.42, 0.45)),
        (lambda: ground("grass", (0.6, 0.85, 0.45)), 0.1, (0.6, 0.62, 0.65)),
        (lambda: ground("grass", (0.6, 0.85, 0.45)), 0.6, (0.6, 0.62, 0.5)),
        (lambda: np.full((360, 480, 3), (200, 190, 180), np.uint8), 0.6, (0.8, 0.8, 0.8)),
    ],
    ids=["gravel", "gravel, to the right", "grass", "grass without its highlights", "plain table"],
)
def test_a_cast_shadow_is_found(
    make_ground: Callable[[], Bytes], aside: float, ratio: tuple[float, float, float]
) -> None:
    mask = box()
    shadow = shadow_of(mask, aside=aside)
    noise = np.random.default_rng(1).normal(0, 2, (*mask.shape, 3))
    plain = placed(make_ground(), mask)
    image = placed(darkened(make_ground(), shadow, ratio), mask)
    plain, image = (np.clip(each + noise, 0, 255).astype(np.uint8) for each in (plain, image))
    recall, precision = shares(found(image, mask), shadow, mask)
    assert recall > 0.9
    assert precision > 0.6, "more than its soft edge"
    assert not found(plain, mask).any()


def test_no_gap_is_left_between_object_and_shadow() -> None:
    image, mask, _ = with_cast_shadow()
    grown = np.maximum(mask, found(image, mask))
    parts, _ = cv2.connectedComponents(grown)
    assert parts == 2, "what is kept, and one part"


def test_what_is_found_scales_with_the_photo() -> None:
    image, mask, shadow = with_cast_shadow()
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    large_mask, large_shadow = (cv2.resize(each, None, fx=4, fy=4) for each in (mask, shadow))
    assert shares(found(large, large_mask), large_shadow, large_mask)[0] > 0.9


@pytest.mark.parametrize(
    "ratio",
    [(0.75, 0.5, 0.45), (0.5, 0.62, 0.5), (0.6, 0.62, 0.5), (0.1, 0.1, 0.1)],
    ids=["red", "green", "yellow, as shadows are on grass alone", "black"],
)
def test_dark_things_beside_the_object_are_no_shadow(ratio: tuple[float, float, float]) -> None:
    mask = box()
    image = placed(darkened(gravel(), shadow_of(mask), ratio, blur=0.7), mask)
    assert not found(image, mask).any()


def test_a_dark_thing_without_the_texture_of_the_ground_is_no_shadow() -> None:
    mask = box()
    dark = np.where(shadow_of(mask)[:, :, np.newaxis] > 0, np.uint8(75), gravel())
    assert not found(placed(dark, mask), mask).any()


def test_a_shadow_that_does_not_begin_at_the_foot_of_the_object_is_not_its_own() -> None:
    mask = box()
    high = np.roll(shadow_of(mask), -80, axis=0)
    assert not found(placed(darkened(gravel(), high, SUNLIGHT), mask), mask).any()


def test_shadows_of_several_objects_fall_to_one_side() -> None:
    first, other = box(110, 180), box(350, 400, height=80)
    alone = placed(darkened(gravel(), shadow_of(other, aside=-0.7), SUNLIGHT), other)
    assert found(alone, other)[FOOT + 12, 380]
    both = first | other
    image = darkened(darkened(gravel(), shadow_of(other, aside=-0.7), SUNLIGHT), shadow_of(first, aside=0.7), SUNLIGHT)
    grown = found(placed(image, both), both)
    assert grown[FOOT + 12, 130]
    assert not grown[FOOT + 12, 380]


@pytest.mark.parametrize("strength", [0.75, 0.25])
def test_a_mirror_image_is_found(strength: float) -> None:
    image, mask, mirrored = with_mirror_image(strength)
    recall, precision = shares(found(image, mask), mirrored, mask)
    assert recall > 0.9
    assert precision > 0.75
    assert not found(with_mirror_image(0)[0], mask).any()


@pytest.mark.parametrize(
    ("name", "centre", "axes"),
    [
        ("astronaut", (225, 280), (110, 230)),
        ("chelsea", (230, 170), (120, 100)),
        ("coffee", (280, 200), (200, 170)),
        ("rocket", (321, 260), (25, 110)),
        ("camera", (120, 280), (90, 200)),
    ],
)
def test_nothing_is_found_in_photos_without_a_shadow(name: str, centre: tuple[int, int], axes: tuple[int, int]) -> None:
    photo = np.asarray(getattr(data, name)(), np.uint8)
    image = np.ascontiguousarray(photo.reshape(*photo.shape[:2], -1))
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    assert not found(image, mask).any()


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_of_nothing_or_of_everything_has_no_shadow(value: int) -> None:
    image, mask, _ = with_cast_shadow()
    assert not found(image, np.full_like(mask, value)).any()
    assert not found(image[:9, :9].copy(), np.full((9, 9), value, np.uint8)).any()
