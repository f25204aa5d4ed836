"""Windows lie in the image, hold the mask, satisfy the engine's rule and map coordinates both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size, Window, WindowRule, plan_window, row_strips
from tests.support.strategies import boxes_in, examples, sizes, window_rules

PLANS = sizes(300).flatmap(lambda size: st.tuples(st.just(size), boxes_in(size), window_rules()))


@given(PLANS)
@settings(max_examples=examples(300), deadline=None)
def test_a_window_lies_in_the_image_and_holds_the_mask(plan: tuple[Size, Box, WindowRule]) -> None:
    image, marked, rule = plan
    window = plan_window(marked, image, rule)
    assert Box.whole(image).contains(window.box)
    assert window.box.contains(marked.expanded(max(1, rule.min_context)).clipped(Box.whole(image)))


@given(PLANS)
@settings(max_examples=examples(300), deadline=None)
def test_the_work_size_has_the_sides_that_the_rule_requires(plan: tuple[Size, Box, WindowRule]) -> None:
    image, marked, rule = plan
    window = plan_window(marked, image, rule)
    for side in (window.work.width, window.work.height):
        assert side % rule.multiple == 0
        assert rule.max_side is None or side <= rule.max_side
    too_thin = rule.max_side is not None and window.work.longer == rule.largest
    assert window.work.shorter >= rule.min_side or too_thin or rule.max_side is None


@given(PLANS)
@settings(max_examples=examples(300), deadline=None)
def test_both_axes_are_scaled_alike_but_for_rounding(plan: tuple[Size, Box, WindowRule]) -> None:
    image, marked, rule = plan
    window = plan_window(marked, image, rule)
    axes = ((window.work.width, window.box.size.width), (window.work.height, window.box.size.height))
    lowest = max((work - rule.multiple) / side for work, side in axes)
    highest = min((work + rule.multiple) / side for work, side in axes)
    assert lowest <= highest


@given(boxes_in(Size(50, 50)), st.integers(0, 700), st.integers(0, 500), window_rules())
@settings(max_examples=examples(200), deadline=None)
def test_a_window_is_widened_rather_than_scaled_where_the_image_has_room(
    marked: Box, x: int, y: int, rule: WindowRule
) -> None:
    moved = Box(marked.left + x, marked.top + y, marked.right + x, marked.bottom + y)
    window = plan_window(moved, Size(750, 550), replace(rule, max_side=None, max_upscaling=1.0))
    assert window.work == window.box.size


def test_a_small_mask_gets_more_context_instead_of_scaling() -> None:
    window = plan_window(Box(500, 500, 520, 520), Size(2000, 1500), WindowRule(0.5, min_side=512, multiple=64))
    assert window == Window(Box(254, 254, 766, 766), Size(512, 512))


SQUARE = WindowRule(0.5, 32, min_side=1024, max_side=1024, multiple=256, max_upscaling=4.0)


@pytest.mark.parametrize(
    ("rule", "side", "window_side"),
    [
        (SQUARE, 400, 800),
        (SQUARE, 60, 256),  # at most four times
        (replace(SQUARE, max_upscaling=16.0), 60, 124),
        (replace(SQUARE, max_upscaling=1.0), 400, 1024),
        (replace(SQUARE, context=0.0), 400, 464),
        (replace(SQUARE, context=0.0, min_context=300), 400, 1000),
        (replace(SQUARE, exact=Size(1024, 1024)), 400, 800),
        (replace(SQUARE, exact=Size(1024, 1024)), 60, 256),
        (replace(SQUARE, exact=Size(1024, 1024), max_upscaling=1.0), 60, 1024),
    ],
)
def test_the_window_of_a_small_mask_is_scaled_up_to_the_models_size(
    rule: WindowRule, side: int, window_side: int
) -> None:
    window = plan_window(Box(700, 500, 700 + side, 500 + side), Size(3000, 2500), rule)
    assert window.box.size == Size(window_side, window_side)
    assert window.box.contains(Box(700, 500, 700 + side, 500 + side))
    assert window.work == Size(1024, 1024)


@given(PLANS)
@settings(max_examples=examples(300), deadline=None)
def test_a_window_is_scaled_up_no_further_than_the_rule_allows_where_the_image_has_room(
    plan: tuple[Size, Box, WindowRule],
) -> None:
    image, marked, rule = plan
    window = plan_window(marked, image, rule)
    if window.box.size.width < image.width and window.box.size.height < image.height:
        rounding = rule.multiple / window.box.size.shorter
        assert min(window.scale) <= rule.max_upscaling + rounding


@pytest.mark.parametrize(
    ("image", "marked", "work"),
    [
        (Size(800, 600), Box(0, 0, 800, 600), Size(1024, 768)),
        (Size(300, 2000), Box(0, 0, 300, 2000), Size(152, 1024)),
        (Size(300, 300), Box(100, 100, 120, 120), Size(1024, 1024)),
        (Size(300, 2000), Box(100, 900, 200, 1100), Size(768, 1024)),
    ],
)
def test_an_image_too_small_for_the_exact_work_size_keeps_its_ratio(image: Size, marked: Box, work: Size) -> None:
    rule = WindowRule(0.5, 32, multiple=8, max_upscaling=4.0, exact=Size(1024, 1024), keeps_ratio=True)
    window = plan_window(marked, image, rule)
    assert window.work == work
    across, down = window.scale
    assert across == pytest.approx(down, rel=0.02)
    assert plan_window(marked, image, replace(rule, keeps_ratio=False)).work == Size(1024, 1024)


def test_a_window_is_stored_with_its_passes() -> None:
    for passes in ((), (Box(0, 0, 5, 5), Box(5, 0, 10, 5))):
        window = Window(Box(0, 0, 10, 5), Size(20, 10), passes)
        assert Window.from_dict(window.to_dict()) == window


def test_a_square_only_engine_gets_squares_where_the_image_has_them() -> None:
    rule = WindowRule(0.25, min_side=512, max_side=512)
    window = plan_window(Box(100, 600, 1100, 700), Size(2000, 1500), rule)
    assert window.work == Size(512, 512)
    assert window.box == Box(0, 0, 1350, 1350)


def test_the_window_of_a_large_mask_is_scaled_down_to_the_engines_limit() -> None:
    window = plan_window(Box(100, 100, 3900, 2900), Size(4000, 3000), WindowRule(0.25, max_side=1024, multiple=8))
    assert window == Window(Box(0, 0, 4000, 3000), Size(1024, 768))


def test_a_very_thin_image_is_scaled_up_within_limits() -> None:
    window = plan_window(Box(0, 0, 1, 8192), Size(1, 8192), WindowRule(0.25, min_side=64))
    assert window.work.area < 2**20


@pytest.mark.parametrize(
    "numbers",
    [
        {"context": -0.1},
        {"context": float("nan")},
        {"context": 1.0, "min_context": -1},
        {"context": 1.0, "multiple": 0},
        {"context": 1.0, "min_side": 0},
        {"context": 1.0, "min_side": 64, "max_side": 32},
        {"context": 1.0, "max_side": 60, "multiple": 64},
        {"context": 1.0, "max_upscaling": 0.5},
    ],
)
def test_it_refuses_a_rule_that_no_window_can_satisfy(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\d|nan"):
        WindowRule(**numbers)  # type: ignore[arg-type]


def test_it_refuses_a_mask_that_extends_beyond_the_image() -> None:
    with pytest.raises(InvalidRequest, match="extends beyond the image"):
        plan_window(Box(0, 0, 11, 5), Size(10, 10), WindowRule(0.5))


def test_boxes_are_expanded_clipped_and_translated() -> None:
    box = Box(3, 4, 10, 12)
    assert box.expanded(2) == Box(1, 2, 12, 14)
    assert box.expanded(5).clipped(Box.whole(Size(12, 100))) == Box(0, 0, 12, 17)
    assert box.relative_to(Box(1, 2, 50, 50)) == Box(2, 2, 9, 10)
    with pytest.raises(InvalidRequest):
        box.clipped(Box(10, 0, 20, 20))


def test_strips_cover_every_row_once() -> None:
    for height, width in ((1, 1), (5000, 8000), (8192, 8192), (70, 3_000_000)):
        covered = [row for top, bottom in row_strips(height, width) for row in range(top, bottom)]
        assert covered == list(range(height))
