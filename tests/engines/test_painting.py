"""Painting: pixels outside the mask stay bit-identical with any engine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inpainting.core.compositing import Composite, composite, outside_mask_changed_pixels
from inpainting.core.errors import Cancelled, EngineFailed, InvalidRequest
from inpainting.core.geometry import Box, Size, WindowRule
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.masks import grown_mask
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import painting
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.painting import NOTHING_TO_DO, Painting, paint
from inpainting.worker.run import report
from tests.support.fakes import PlainEngine, declared, planned
from tests.support.strategies import examples, images, masks, sizes, window_rules


@dataclass
class NoiseEngine(PlainEngine):
    """Paints noise everywhere, outside the mask too."""

    rule: WindowRule = field(default_factory=lambda: WindowRule(0.5))
    seen: list[InpaintRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.declaration = declared("noise", rule=self.rule)

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        request = plan.request
        self.seen.append(request)
        on_step(Step(1, 1))
        rng = np.random.default_rng(request.settings.seed)
        shape = (request.settings.num_images, *request.image.pixels.shape)
        return list(rng.integers(0, 256, shape, np.uint8))


def ignore_step(step: Step) -> None:
    pass


def done(request: InpaintRequest, engine: NoiseEngine) -> list[Painting]:
    return paint(planned(request, engine), engine, ignore_step)


@st.composite
def requests(draw: st.DrawFn) -> InpaintRequest:
    size = draw(sizes(80))
    return InpaintRequest(
        draw(images(size)),
        draw(masks(size)),
        PaintSettings(
            mask_grow=draw(st.integers(-2, 30)),
            mask_blur=draw(st.integers(0, 20)),
            seed=draw(st.integers(0, 100)),
            num_images=draw(st.integers(1, 2)),
        ),
    )


@given(requests(), window_rules())
@settings(max_examples=examples(100), deadline=None)
def test_every_pixel_outside_the_mask_is_unchanged(request: InpaintRequest, rule: WindowRule) -> None:
    image = CanonicalImage(request.image.pixels.copy(), request.image.icc_profile)
    mask = request.mask.copy()
    try:
        grown = grown_mask(mask, request.settings)
    except InvalidRequest:
        with pytest.raises(InvalidRequest, match="shrinking"):
            done(request, NoiseEngine(rule))
        return
    results = done(request, NoiseEngine(rule))
    assert len(results) == request.settings.num_images
    for result in results:
        kept = grown == 0
        assert np.array_equal(result.mask, grown)
        assert result.image.pixels.shape == image.pixels.shape
        assert result.image.pixels.dtype == image.pixels.dtype
        assert result.image.icc_profile == image.icc_profile
        assert np.array_equal(result.image.pixels[kept], image.pixels[kept])
        assert outside_mask_changed_pixels(image, result.image, grown) == 0
        assert 0 <= result.seam_score <= result.seam_score_plain
    assert request.image.equals(image)
    assert np.array_equal(request.mask, mask)


@given(requests(), window_rules())
@settings(max_examples=50, deadline=None)
def test_an_engine_gets_a_window_that_follows_its_rule(request: InpaintRequest, rule: WindowRule) -> None:
    engine = NoiseEngine(rule)
    try:
        result = done(request, engine)[0]
    except InvalidRequest:
        return
    (seen,) = engine.seen
    assert (seen.image.mode, seen.image.bits, seen.image.size) == ("RGB", 8, result.work)
    assert seen.mask.shape == (result.work.height, result.work.width)
    assert seen.mask.any()
    assert result.work.width % rule.multiple == result.work.height % rule.multiple == 0
    assert (seen.settings.mask_grow, seen.settings.mask_blur) == (0, 0)
    assert seen.settings.seed == request.settings.seed


def scene(**changes: Any) -> InpaintRequest:
    pixels = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    mask = np.zeros((90, 120), np.uint8)
    mask[40:50, 50:70] = 255
    return InpaintRequest(CanonicalImage(pixels), mask, PaintSettings(**changes))


def test_an_engine_gets_only_the_masked_part_and_its_surroundings() -> None:
    engine = NoiseEngine(WindowRule(0.5, min_context=4))
    request = scene()
    result = done(request, engine)[0]
    assert result.window.box == Box(40, 30, 80, 60)
    assert engine.seen[0].image.size == result.work == Size(40, 30)
    assert result.coverage == 200 / (90 * 120)
    changed = (result.image.pixels != request.image.pixels).any(axis=2)
    assert changed[40:50, 50:70].mean() > 0.95
    assert planned(request, engine).warnings == ()


def test_mask_growing_and_blurring_happen_before_the_engine() -> None:
    engine = NoiseEngine()
    request = scene(mask_grow=3, mask_blur=4)
    result = done(request, engine)[0]
    assert result.mask[40, 47] == 255
    assert result.mask[40, 46] == 0
    change = np.abs(result.image.pixels.astype(int) - request.image.pixels)
    assert change[44, 47].max() <= 0.05 * 255
    assert change[44, 60].max() > 0.05 * 255
    assert np.count_nonzero(engine.seen[0].mask) == np.count_nonzero(result.mask)


def test_each_requested_image_is_painted_and_the_same_seed_repeats_it() -> None:
    first = done(scene(num_images=3, seed=8), NoiseEngine())
    again = done(scene(num_images=3, seed=8), NoiseEngine())
    assert len({result.image.pixels.tobytes() for result in first}) == 3
    assert all(a.image.equals(b.image) for a, b in zip(first, again, strict=True))


def test_it_refuses_an_empty_mask_before_the_engine_starts() -> None:
    engine = NoiseEngine()
    request = InpaintRequest(scene().image, np.zeros((90, 120), np.uint8))
    with pytest.raises(InvalidRequest, match="Nothing to repaint") as refused:
        done(request, engine)
    assert refused.value.code == "mask_empty"
    assert not engine.seen


def test_a_nearly_full_mask_is_painted_with_a_warning() -> None:
    full: Mask = np.full((90, 120), 255, np.uint8)
    request = InpaintRequest(scene().image, full)
    result = done(request, NoiseEngine())[0]
    assert "100 % of the image" in planned(request, NoiseEngine()).warnings[0]
    assert result.coverage == 1


def test_too_few_or_wrong_images_of_an_engine_are_an_error() -> None:
    class Lazy(NoiseEngine):
        def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
            return super().inpaint(plan, on_step)[:1]

    class Large(NoiseEngine):
        def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
            return [np.zeros((7, 7, 3), np.uint8)]

    with pytest.raises(EngineFailed, match="2 images, got 1"):
        done(scene(num_images=2), Lazy())
    with pytest.raises(EngineFailed, match=r"\(7, 7, 3\)"):
        done(scene(), Large())


def test_the_last_step_is_reported_again_with_each_composited_image() -> None:
    steps: list[Step] = []
    engine = NoiseEngine()
    paintings = paint(planned(scene(num_images=2), engine), engine, steps.append)
    assert steps == [Step(1, 1, box=paintings[0].window.box)] * 3


def test_a_painting_and_its_report_name_the_backend() -> None:
    class Two(NoiseEngine):
        def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
            on_step(Step(1, 2, computed_by="abacus, exactly"))
            return super().inpaint(plan, on_step)

    (painting,), (plain,) = done(scene(), Two()), done(scene(), NoiseEngine())
    assert report(painting)["computed_by"] == "abacus, exactly"
    assert "computed_by" not in report(plain)


def test_strength_0_changes_no_pixel_if_the_engine_reads_strength() -> None:
    class WithoutStrength(NoiseEngine):
        def __post_init__(self) -> None:
            self.declaration = declared("noise", ignored=frozenset({"strength"}))

    request, engine = scene(strength=0.0, num_images=2), NoiseEngine(WindowRule(0.5, max_side=16))
    steps: list[Step] = []
    results = paint(planned(request, engine), engine, steps.append)
    assert [result.image.equals(request.image) for result in results] == [True, True]
    assert not engine.seen
    assert [result.notes for result in results] == [(NOTHING_TO_DO,)] * 2
    assert [(step.done, step.of) for step in steps] == [(1, 1)]
    assert report(results[0])["seam_score_plain"] == 0
    assert not done(request, WithoutStrength())[0].image.equals(request.image)


def test_cancelled_passes_through() -> None:
    def stop(step: Step) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        paint(planned(scene(), NoiseEngine()), NoiseEngine(), stop)


def test_slow_compositing_repeats_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    repeated = threading.Event()
    steps: list[Step] = []

    def slow_composite(*arguments: Any, **options: Any) -> Composite:
        steps.clear()
        assert repeated.wait(30)
        return composite(*arguments, **options)

    def on_step(step: Step) -> None:
        steps.append(step)
        if len(steps) > 1:
            repeated.set()

    monkeypatch.setattr(painting, "composite", slow_composite)
    request = InpaintRequest(CanonicalImage(np.zeros((8, 8, 3), np.uint8)), np.full((8, 8), 255, np.uint8))
    engine = NoiseEngine()
    paint(planned(request, engine), engine, on_step)
    assert {(step.done, step.of) for step in steps} == {(1, 1)}
