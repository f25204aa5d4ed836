"""Who decides about the safety checker, and what it gets to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import marked
from inpainting.core.picture import Mask
from inpainting.core.request import SAFETY_TYPES, PaintSettings
from inpainting.core.safety import STAYS_ON, STRICTNESS, settled, views
from tests.strategies import masks, sizes


@pytest.mark.parametrize("instance", ["off", *SAFETY_TYPES])
@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize("kind", [None, *SAFETY_TYPES])
def test_a_request_is_at_least_as_strict_as_the_site(instance: str, asked: bool | None, kind: str | None) -> None:
    wanted = PaintSettings(safety_checker=asked, safety_checker_type=kind)
    here, warnings = settled(wanted, instance)
    if instance == "off":
        assert here.safety_checker == asked
        assert here.safety_checker_type == ((kind or "sensitive_content_text") if asked else None)
        assert bool(warnings) == (kind is not None and not asked)
        return
    assert here.safety_checker
    assert here.safety_checker_type is not None
    assert STRICTNESS[here.safety_checker_type] >= STRICTNESS[instance]
    is_weaker = kind is not None and STRICTNESS[kind] < STRICTNESS[instance]
    assert here.safety_checker_type == (instance if is_weaker or kind is None else kind)
    assert (STAYS_ON in warnings) == (asked is False)
    assert any("hides less" in warning for warning in warnings) == is_weaker
    assert len(warnings) == (asked is False) + is_weaker


def test_blur_leaves_most_and_black_and_the_sentence_leave_nothing() -> None:
    assert sorted(SAFETY_TYPES, key=lambda name: STRICTNESS[name]) == [*SAFETY_TYPES]
    assert STRICTNESS["black"] == STRICTNESS["sensitive_content_text"]


def test_settings_know_no_other_type() -> None:
    with pytest.raises(InvalidRequest, match="blur, pixelate, black, sensitive_content_text"):
        PaintSettings(safety_checker_type="mosaic")


@settings(max_examples=50)
@given(sizes(90).flatmap(masks))
def test_the_views_are_squares_of_the_picture_that_show_all_that_was_painted(mask: Mask) -> None:
    seen = np.zeros(mask.shape, bool)
    for box in views(mask):
        assert box.size.width == box.size.height
        assert 0 <= box.left < box.right <= mask.shape[1]
        assert 0 <= box.top < box.bottom <= mask.shape[0]
        seen[box.slices] = True
    assert seen[mask > 0].all()


def test_what_is_around_is_seen_too_and_what_is_far_is_not() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[400:500, 300:400] = 255
    (box,) = views(mask)
    assert (box.left, box.top, box.right, box.bottom) == (250, 350, 450, 550)


def test_a_far_dot_does_not_make_the_rest_too_small_to_be_seen() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[400:500, 300:400] = mask[998:, 998:] = 255
    boxes = views(mask)
    assert any(box.contains(marked(mask)) for box in boxes)
    assert any(box.size.width == 200 and box.left == 250 for box in boxes)
    assert len(boxes) == 3


def test_dots_without_number_cost_a_limited_number_of_looks() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[::8, ::8] = 255
    assert len(views(mask)) <= 9


def test_what_is_large_enough_beside_the_rest_is_looked_at_once() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[100:240, 100:240] = mask[260:400, 260:400] = 255
    assert len(views(mask)) == 1
