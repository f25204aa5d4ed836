"""The tiles in which a large area is painted at the image's own size: what they cover, and that no edge shows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size, WindowRule
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.painting import paint
from inpainting.engines.tiles import MAX_TILES, OVERLAP, plan_tiles
from inpainting.engines.upscaling import enlarge_source
from tests.support.fakes import PlainEngine, declared, planned
from tests.support.strategies import boxes_in, examples, sizes

RULE = WindowRule(0.5, 8, min_side=32, max_side=64, multiple=8)


@dataclass
class ShiftingEngine(PlainEngine):
    """Makes the whole window lighter or darker, differently for each seed, and keeps what it was given."""

    ignored: frozenset[str] = frozenset()
    seen: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.declaration = declared("shifting", rule=RULE, ignored=self.ignored)

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        self.seen.append(plan)
        on_step(Step(1, 1))
        shift = np.random.default_rng(plan.settings.seed).integers(-40, 41)
        return [(plan.request.image.pixels.astype(int) + shift).clip(0, 255).astype(np.uint8)]


def request_for(mask: NDArray[np.uint8], depth: type[np.uint8 | np.uint16] = np.uint8, **values: Any) -> InpaintRequest:
    pixels: Any = np.full((*mask.shape, 3), np.iinfo(depth).max // 2, depth)
    return InpaintRequest(CanonicalImage(pixels), mask, PaintSettings(tiled=True, seed=5, strength=0.3, **values))


@given(sizes(200).flatmap(lambda size: st.tuples(st.just(size), boxes_in(size))))
@settings(max_examples=examples(200), deadline=None)
def test_tiles_of_one_size_cover_what_is_marked_and_overlap(placed: tuple[Size, Box]) -> None:
    size, marked = placed
    mask = np.zeros((size.height, size.width), np.uint8)
    mask[marked.slices] = 255
    tiles = plan_tiles(mask, RULE)
    covered = np.zeros_like(mask)
    for tile in tiles:
        assert Box.whole(size).contains(tile)
        assert tile.size == Size(min(32, size.width), min(32, size.height))
        covered[tile.slices] = 255
    assert (covered >= mask).all()
    overlaps = [b.left for b in tiles if b.top == tiles[0].top]
    assert all(next_left - left <= 32 * (1 - OVERLAP) for left, next_left in pairwise(overlaps))


def test_no_edge_of_a_tile_shows() -> None:
    request, engine = request_for(np.full((150, 170), 255, np.uint8)), ShiftingEngine()
    plan = planned(request, engine)
    (painting,) = paint(plan, engine, lambda step: None)
    levels = painting.image.pixels[:, :, 0].astype(int)
    assert len(engine.seen) == len(plan.window.passes) > 20
    assert levels.max() - levels.min() > 40  # the tiles differ
    steps = max(np.abs(np.diff(levels, axis=axis)).max() for axis in (0, 1))
    assert steps <= 80 / (OVERLAP * 32) + 1  # where they were side by side, up to 80
    assert {seen.request.image.size for seen in engine.seen} == {Size(32, 32)}
    assert len({seen.settings.seed for seen in engine.seen}) == len(engine.seen)
    assert plan.warnings[-1] == f"The area is painted in {len(engine.seen)} tiles."


def test_no_edge_shows_in_an_image_that_is_enlarged_first_and_its_steps_are_counted_on() -> None:
    request, engine, steps = request_for(np.full((75, 85), 255, np.uint8)), ShiftingEngine(), list[Step]()
    request = replace(request, enlarged_to=Size(170, 150), upscaler="lanczos")
    plan = planned(request, engine)
    enlarged, on_step = enlarge_source(plan, steps.append)
    (painting,) = paint(enlarged, engine, on_step)
    levels = painting.image.pixels[:, :, 0].astype(int)
    assert levels.shape == (150, 170)
    assert levels.max() - levels.min() > 40  # the tiles differ
    assert max(np.abs(np.diff(levels, axis=axis)).max() for axis in (0, 1)) <= 80 / (OVERLAP * 32) + 1
    counted = [(step.done, step.of) for step in steps if step.of]
    assert [done for done, _ in counted] == sorted(done for done, _ in counted)
    assert counted[-1] == (1 + len(engine.seen), 1 + len(engine.seen))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_is_not_marked_stays_and_has_no_tiles(depth: type[np.uint8 | np.uint16]) -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[:90, :20] = mask[100:120, 60:190] = 255
    request, engine = request_for(mask, depth, num_images=2, mask_blur=4), ShiftingEngine()
    plan, steps = planned(request, engine), list[Step]()
    paintings = paint(plan, engine, steps.append)
    assert all(plan.mask[tile.slices].any() for tile in plan.window.passes)
    for painting in paintings:
        assert painting.image.bits == request.image.bits
        assert outside_mask_changed_pixels(request.image, painting.image, painting.mask) == 0
    assert not paintings[0].image.equals(paintings[1].image)
    counted = [(step.done, step.of) for step in steps]
    assert counted == sorted(counted)
    assert counted[-1] == (2 * len(plan.window.passes), 2 * len(plan.window.passes))


def test_an_engine_that_ignores_tiles_paints_one_window() -> None:
    engine = ShiftingEngine(frozenset({"tiled"}))
    plan = planned(request_for(np.full((150, 170), 255, np.uint8)), engine)
    assert plan.window.passes == ()
    assert "tiled" in plan.ignored
    paint(plan, engine, lambda step: None)
    assert len(engine.seen) == 1


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=f"at most {MAX_TILES} are allowed") as caught:
        plan_tiles(np.full((900, 900), 255, np.uint8), WindowRule(0.5, 8, min_side=32, multiple=8))
    assert (caught.value.field, caught.value.limit) == ("tiled", MAX_TILES)
