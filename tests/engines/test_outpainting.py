"""Outpainting with engines that have a size of their own: passes over a large border, and what they start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inpainting.core.compositing import cut_image, outside_mask_changed_pixels
from inpainting.core.geometry import Box, Size, WindowRule, plan_window
from inpainting.core.image import CanonicalImage
from inpainting.core.outpainting import Outpaint, extend
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.painting import paint
from inpainting.engines.passes import MAX_PASSES, gap, plan_passes
from tests.support.fakes import PlainEngine, declared, planned
from tests.support.strategies import boxes_in, examples, sizes

RULE = WindowRule(0.5, 8, min_side=32, max_side=64, multiple=8)


@dataclass
class NoiseEngine(PlainEngine):
    """Paints noise, another one for each seed, and keeps what it was given."""

    rule: WindowRule = RULE
    ignored: frozenset[str] = frozenset()
    seen: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.declaration = declared("noise", rule=self.rule, ignored=self.ignored)

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        self.seen.append(plan)
        on_step(Step(1, 2))
        on_step(Step(2, 2))
        rng = np.random.default_rng(plan.settings.seed)
        return [rng.integers(0, 256, plan.request.image.pixels.shape, np.uint8)]


def outpainting(shape: tuple[int, int], outpaint: Outpaint, **values: Any) -> InpaintRequest:
    rng = np.random.default_rng(8)
    pixels = cv2.GaussianBlur(rng.integers(0, 65536, (*shape, 3)).astype(np.uint16), (0, 0), 2)
    image, mask, placement = extend(CanonicalImage(pixels), outpaint)
    return InpaintRequest(image, mask, PaintSettings(**values), placement=placement)


@given(sizes(300).flatmap(lambda size: st.tuples(st.just(size), boxes_in(size))))
@settings(max_examples=examples(200), deadline=None)
def test_passes_paint_every_pixel_of_the_border_once_and_the_nearest_first(placed: tuple[Size, Box]) -> None:
    size, kept = placed
    mask = np.full((size.height, size.width), 255, np.uint8)
    mask[kept.slices] = 0
    if not mask.any():
        return
    parts = plan_passes(mask, plan_window(Box.whole(size), size, RULE), RULE)
    if not parts:
        return
    times = np.zeros(mask.shape, int)
    for part in parts:
        times[part.slices] += 1
    assert np.array_equal(times, (mask > 0).astype(int))
    assert len(parts) <= MAX_PASSES
    gaps = [gap(part, kept) for part in parts]
    assert gaps == sorted(gaps)


@pytest.mark.parametrize(
    ("rule", "size"),
    [(RULE, Size(80, 60)), (WindowRule(0.5), Size(900, 900)), (WindowRule(0.5, exact=Size(64, 64)), Size(900, 900))],
)
def test_a_border_that_the_model_sees_well_is_one_pass(rule: WindowRule, size: Size) -> None:
    mask = np.full((size.height, size.width), 255, np.uint8)
    mask[20:40, 20:40] = 0
    assert plan_passes(mask, plan_window(Box.whole(size), size, rule), rule) == ()


def test_several_passes_leave_the_source_as_it_is_and_each_sees_those_before_it() -> None:
    request = outpainting((60, 60), Outpaint(left=50, bottom=50), seed=3, num_images=2, strength=1.0)
    engine, steps = NoiseEngine(), list[Step]()
    plan = planned(request, engine)

    paintings = paint(plan, engine, steps.append)

    assert len(plan.window.passes) > 3
    assert plan.warnings == (f"The border is painted in {len(plan.window.passes)} passes of the model.",)
    assert len(engine.seen) == 2 * len(plan.window.passes)
    assert {seen.settings.num_images for seen in engine.seen} == {1}
    assert len({seen.settings.seed for seen in engine.seen}) == len(engine.seen)
    for painting in paintings:
        assert painting.image.bits == 16
        assert outside_mask_changed_pixels(request.image, painting.image, painting.mask) == 0
    for seen, is_painted_beside in zip(engine.seen[:2], (False, True), strict=True):
        kept = seen.mask == 0
        before = cut_image(request.image, seen.window).pixels
        assert bool((seen.request.image.pixels[kept] != before[kept]).any()) == is_painted_beside
    counted = [(step.done, step.of) for step in steps]
    assert counted == sorted(counted)
    assert counted[-1] == (4 * len(plan.window.passes), 4 * len(plan.window.passes))
    assert all(step.box is not None and plan.window.box.contains(step.box) for step in steps)


def test_a_image_depends_on_its_own_seed_alone_in_several_passes_too() -> None:
    both = outpainting((60, 60), Outpaint(left=50, bottom=50), seed=3, num_images=2, strength=1.0)
    second = outpainting((60, 60), Outpaint(left=50, bottom=50), seed=4, strength=1.0)
    found = [paint(planned(request, NoiseEngine()), NoiseEngine(), lambda step: None) for request in (both, second)]
    assert found[0][1].image.equals(found[1][0].image)
    assert not found[0][0].image.equals(found[1][0].image)


@pytest.mark.parametrize(
    ("strength", "ignored", "is_filled"),
    [(0.75, frozenset(), True), (1.0, frozenset(), False), (0.75, frozenset({"strength"}), False)],
)
def test_an_engine_that_starts_from_the_image_gets_a_filled_border(
    strength: float, ignored: frozenset[str], is_filled: bool
) -> None:
    request = outpainting((60, 60), Outpaint(left=20, right=20), strength=strength)
    engine = NoiseEngine(WindowRule(0.5), ignored)
    painting = paint(planned(request, engine), engine, lambda step: None)[0]
    (plan,) = engine.seen
    border = plan.request.image.pixels[:, 81:].astype(int)
    assert bool(np.abs(np.diff(border, axis=1)).mean() > 1) == is_filled
    assert outside_mask_changed_pixels(request.image, painting.image, painting.mask) == 0


def test_a_mask_within_the_source_is_the_first_pass() -> None:
    hole = np.zeros((60, 60), np.uint8)
    hole[30, 30] = 255
    image, mask, placement = extend(CanonicalImage(np.zeros((60, 60, 3), np.uint8)), Outpaint(left=50, bottom=50), hole)
    engine = NoiseEngine()
    plan = planned(InpaintRequest(image, mask, PaintSettings(strength=1.0), placement=placement), engine)
    assert plan.window.passes[0] == placement.box
    paint(plan, engine, lambda step: None)
    assert np.count_nonzero(engine.seen[0].mask) < 100
