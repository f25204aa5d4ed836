"""A generation's life: round trip, cancelling while it runs, and what a dead process leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.errors import Cancelled, EngineFailed, InvalidRequest
from inpainting.core.geometry import WindowRule
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Step
from inpainting.engines.painting import Painting
from inpainting.generations import run as running
from inpainting.generations.recover import recover
from inpainting.generations.run import run, run_waiting
from inpainting.generations.submit import submit
from inpainting.generations.watch import Watch
from inpainting.models import GeneratedImage, Generation, Status

Generate = Callable[..., Generation]


class FakeEngine:
    """Paints everything grey in three steps; `before_step` may interfere."""

    name = "quick-fill"
    ignores: frozenset[str] = frozenset()
    needs_surroundings = False
    window = WindowRule(context=0.5)

    def __init__(self, before_step: Callable[[int], None]) -> None:
        self.before_step = before_step

    def inpaint(self, request: InpaintRequest, on_step: OnStep) -> list[NDArray[np.uint8]]:
        for number in (1, 2, 3):
            self.before_step(number)
            on_step(Step(number, 3))
        return [np.full(request.image.pixels.shape, 128, np.uint8)] * request.settings.num_images


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeEngine], None]:
    monkeypatch.setattr(running, "PROGRESS_EVERY_SECONDS", 0)
    return lambda engine: monkeypatch.setattr(registry, "find", lambda name: engine)


def started(generation: Generation) -> Generation:
    assert generation.start()
    return generation


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_request_comes_back_as_it_went_in(alice: User, channels: int, depth: type[np.uint8 | np.uint16]) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, np.iinfo(depth).max, (9, 7, channels), endpoint=True)
    mask = rng.integers(0, 256, (9, 7), np.uint8)
    image = Picture(pixels.astype(np.uint8) if depth is np.uint8 else pixels.astype(np.uint16))
    settings = PaintSettings(prompt="ein Weg, 道", negative_prompt="x", strength=0.3, seed=2**62, mask_blur=3)
    request = InpaintRequest(image, mask, settings)
    generation = Generation.from_request(request, owner=alice, engine="quick-fill")
    generation.save_new()
    back = Generation.objects.get(pk=generation.pk).to_request()
    assert back.image.same_as(request.image)
    assert np.array_equal(back.mask, mask)
    assert back.settings == settings


def test_a_cancel_is_obeyed_at_the_next_step(
    alice: User, generate: Generate, use: Callable[[FakeEngine], None]
) -> None:
    generation, reached = started(generate(alice, run=False)), []

    def cancel_before_the_second(number: int) -> None:
        reached.append(number)
        if number == 2:
            assert Generation.objects.get(pk=generation.pk).cancel()

    use(FakeEngine(cancel_before_the_second))
    run(generation)
    generation.refresh_from_db()
    assert generation.status == Status.CANCELLED
    assert reached == [1, 2]
    assert not GeneratedImage.objects.exists()


def test_a_cancel_that_comes_after_the_last_step_still_wins(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = started(generate(alice, run=False))
    store = running.store

    def cancelled_meanwhile(image: GeneratedImage, painting: Painting, canonical: Picture) -> None:
        store(image, painting, canonical)
        Generation.objects.get(pk=generation.pk).cancel()

    monkeypatch.setattr(running, "store", cancelled_meanwhile)
    run(generation)
    generation.refresh_from_db()
    assert generation.status == Status.CANCELLED
    assert not GeneratedImage.objects.exists()


def test_an_engine_that_cannot_paint_says_why(
    alice: User, generate: Generate, use: Callable[[FakeEngine], None]
) -> None:
    def refuse(number: int) -> None:
        raise EngineFailed("there is nothing to copy from", code="nothing_known")

    generation = started(generate(alice, run=False))
    use(FakeEngine(refuse))
    run(generation)
    generation.refresh_from_db()
    assert (generation.status, generation.error_code) == (Status.FAILED, "nothing_known")
    assert generation.error_message == "there is nothing to copy from"


def test_a_second_bell_for_the_same_generation_does_nothing(alice: User, generate: Generate) -> None:
    generate(alice)
    run_waiting()
    assert GeneratedImage.objects.count() == 1


def test_an_empty_mask_is_refused_before_anything_is_kept(alice: User, photo: NDArray[np.uint8]) -> None:
    request = InpaintRequest(Picture(photo), np.zeros((64, 96), np.uint8))
    with pytest.raises(InvalidRequest) as caught:
        submit(request, owner=alice)
    assert caught.value.code == "mask_empty"
    assert not Generation.objects.exists()


def test_a_mask_over_everything_is_refused_where_the_engine_needs_what_is_kept(
    alice: User, photo: NDArray[np.uint8]
) -> None:
    request = InpaintRequest(Picture(photo), np.full((64, 96), 255, np.uint8))
    with pytest.raises(InvalidRequest, match="other way round") as caught:
        submit(request, owner=alice)
    assert caught.value.code == "mask_full"
    assert not Generation.objects.exists()


def test_what_a_dead_process_left_running_is_run_again(alice: User, generate: Generate) -> None:
    waiting, running_one = generate(alice, run=False), started(generate(alice, run=False))
    assert recover() == 2  # the bell is answered at once in these tests
    for generation in (waiting, running_one):
        generation.refresh_from_db()
        assert generation.status == Status.SUCCEEDED


def test_what_kills_every_process_fails_in_the_end(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    for _ in range(3):
        assert generation.start()
        generation.put_back()
    assert (generation.status, generation.error_code) == (Status.FAILED, "job_crashed_worker")


def test_a_cancel_asked_of_a_dead_process_is_still_obeyed(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    assert generation.start()
    assert generation.cancel()
    assert generation.put_back()
    assert generation.status == Status.CANCELLED


def test_the_reporter_writes_the_last_step_however_soon_it_comes(alice: User, generate: Generate) -> None:
    generation = started(generate(alice, run=False))
    report = running.Reporter(generation, Watch("a test"))
    for number in (1, 2, 3):
        report(Step(number, 3))
    assert (generation.step, generation.steps) == (3, 3)
    generation.cancel()
    with pytest.raises(Cancelled):
        report(Step(3, 3))
