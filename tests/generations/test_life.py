"""The life cycle of a generation: stored request, cancelling while it runs, recovery after a dead process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.codecs import encode_png
from inpainting.core.errors import Cancelled, EngineFailed, InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.generations.submit import Submission, submit
from inpainting.models import GeneratedImage, Generation, Status
from inpainting.worker import progress
from inpainting.worker import run as running
from inpainting.worker import watchdog as watching
from inpainting.worker.poller import recover
from inpainting.worker.run import run, run_waiting
from inpainting.worker.watchdog import Heartbeat
from tests.support.fakes import PlainEngine

Generate = Callable[..., Generation]


class FakeEngine(PlainEngine):
    """Paints everything grey in three steps; `before_step` may interfere."""

    def __init__(self, before_step: Callable[[int], None]) -> None:
        self.before_step = before_step

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        for number in (1, 2, 3):
            self.before_step(number)
            on_step(Step(number, 3))
        return [np.full(plan.request.image.pixels.shape, 128, np.uint8)] * plan.settings.num_images


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeEngine], None]:
    monkeypatch.setattr(progress, "PROGRESS_EVERY_SECONDS", 0)
    return lambda engine: monkeypatch.setattr(registry, "find", lambda name, **_: engine)


@pytest.fixture
def _on_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store results on the thread of the test, in whose transaction the rows are."""
    monkeypatch.setattr(running, "run_in_thread", lambda work, keepalive: work())


def started(generation: Generation) -> Generation:
    assert generation.start()
    return generation


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_stored_request_is_restored_unchanged(alice: User, channels: int, depth: type[np.uint8 | np.uint16]) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, np.iinfo(depth).max, (9, 7, channels), endpoint=True)
    mask = rng.integers(0, 256, (9, 7), np.uint8)
    image = CanonicalImage(pixels.astype(np.uint8) if depth is np.uint8 else pixels.astype(np.uint16))
    settings = PaintSettings(prompt="ein Weg, 道", negative_prompt="x", strength=0.3, seed=2**62, mask_blur=3)
    request = InpaintRequest(image, mask, settings)
    generation = Generation.from_request(request, owner=alice, engine="quick-fill")
    generation.save_new()
    back = Generation.objects.get(pk=generation.pk).to_request()
    assert back.image.equals(request.image)
    assert np.array_equal(back.mask, mask)
    assert back.settings == settings


def test_a_cancel_takes_effect_at_the_next_step(
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


@pytest.mark.usefixtures("_on_this_thread")
def test_a_cancel_after_the_last_step_still_takes_effect(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = started(generate(alice, run=False))
    store = running.store

    def cancelled_meanwhile(*args: Any) -> None:
        store(*args)
        Generation.objects.get(pk=generation.pk).cancel()

    monkeypatch.setattr(running, "store", cancelled_meanwhile)
    run(generation)
    generation.refresh_from_db()
    assert generation.status == Status.CANCELLED
    assert not GeneratedImage.objects.exists()


def test_the_error_of_an_engine_is_stored(alice: User, generate: Generate, use: Callable[[FakeEngine], None]) -> None:
    def refuse(number: int) -> None:
        raise EngineFailed("there is nothing to copy from", code="nothing_known")

    generation = started(generate(alice, run=False))
    use(FakeEngine(refuse))
    run(generation)
    generation.refresh_from_db()
    assert (generation.status, generation.error_code) == (Status.FAILED, "nothing_known")
    assert generation.error_message == "there is nothing to copy from"


def test_a_second_notification_for_the_same_generation_does_nothing(alice: User, generate: Generate) -> None:
    generate(alice)
    run_waiting()
    assert GeneratedImage.objects.count() == 1


def test_an_empty_mask_is_refused_before_anything_is_stored(alice: User, photo: NDArray[np.uint8]) -> None:
    request = InpaintRequest(CanonicalImage(photo), np.zeros((64, 96), np.uint8))
    with pytest.raises(InvalidRequest) as caught:
        submit(request, Submission(alice))
    assert caught.value.code == "mask_empty"
    assert not Generation.objects.exists()


def test_a_full_mask_is_refused_where_the_engine_needs_kept_pixels(alice: User, photo: NDArray[np.uint8]) -> None:
    request = InpaintRequest(CanonicalImage(photo), np.full((64, 96), 255, np.uint8))
    with pytest.raises(InvalidRequest, match="other way round") as caught:
        submit(request, Submission(alice))
    assert caught.value.code == "mask_full"
    assert not Generation.objects.exists()


def test_a_pixel_altered_in_storage_is_counted_and_reported(
    alice: User, alices_program: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = GeneratedImage.write

    def write_wrongly(image: GeneratedImage, data: bytes, canonical: CanonicalImage) -> None:
        write(image, data, canonical)
        pixels = canonical.pixels.copy()
        pixels[0, 0, 0] ^= 1  # a pixel outside the mask
        Path(image.file.path).write_bytes(encode_png(CanonicalImage(pixels)))

    monkeypatch.setattr(GeneratedImage, "write", write_wrongly)
    generation = generate(alice)
    assert generation.status == Status.SUCCEEDED
    assert generation.images.get().outside_mask_changed_pixels == 1
    (image,) = alices_program.get(f"/api/generations/{generation.pk}/").json()["images"]
    assert image["outside_mask_changed_pixels"] == 1


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_running_generations_of_a_dead_process_are_run_again(alice: User, generate: Generate) -> None:
    waiting, running_one = generate(alice, run=False), started(generate(alice, run=False))
    assert recover() == 2
    for generation in (waiting, running_one):
        generation.refresh_from_db()
        assert generation.status == Status.SUCCEEDED


def test_a_generation_that_kills_every_process_fails_at_last(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    for _ in range(3):
        assert generation.start()
        generation.requeue()
    assert (generation.status, generation.error_code) == (Status.FAILED, "job_crashed_worker")


def test_a_cancel_takes_effect_after_the_process_died(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    assert generation.start()
    assert generation.cancel()
    assert generation.requeue()
    assert generation.status == Status.CANCELLED


def test_the_reporter_always_stores_the_last_step(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = started(generate(alice, run=False))
    monkeypatch.setattr(progress, "PROGRESS_EVERY_SECONDS", 3600)  # longer than this test: only the last step is stored
    report = progress.Reporter(generation, Heartbeat("a test"))
    for number in (1, 2, 3):
        report(Step(number, 3))
    assert (generation.step, generation.steps) == (3, 3)
    generation.cancel()
    report(Step(3, 3))  # a repeated step is not stored again within the interval
    monkeypatch.setattr(progress, "PROGRESS_EVERY_SECONDS", 0)
    with pytest.raises(Cancelled):
        report(Step(3, 3))


@pytest.mark.usefixtures("_on_this_thread")
def test_each_stored_result_renews_the_lease_and_the_heartbeat(
    alice: User, generate: Generate, use: Callable[[FakeEngine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, store, held = started(generate(alice, run=False, num_images=3)), running.store, []
    long_ago, clock = timezone.now() - timedelta(hours=1), [0.0]
    ended: list[str] = []
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(watching, "end_process", ended.append)

    def store_slowly(*args: Any) -> None:
        watching.end_if_hung()
        held.append(not Generation.abandoned(grace_seconds=0).exists())
        store(*args)
        clock[0] += 3600
        Generation.objects.filter(pk=generation.pk).update(lease_until=long_ago)

    monkeypatch.setattr(running, "store", store_slowly)
    use(FakeEngine(lambda number: None))
    run(generation)
    assert (held, ended) == ([True] * 3, [])
    assert GeneratedImage.objects.count() == 3


@pytest.mark.usefixtures("_on_this_thread")
def test_a_cancel_between_two_results_stores_no_further_one(
    alice: User, generate: Generate, use: Callable[[FakeEngine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, store, stored = started(generate(alice, run=False, num_images=3)), running.store, []

    def cancelled_meanwhile(*args: Any) -> None:
        store(*args)
        stored.append(args[0])
        Generation.objects.get(pk=generation.pk).cancel()

    monkeypatch.setattr(running, "store", cancelled_meanwhile)
    use(FakeEngine(lambda number: None))
    run(generation)
    generation.refresh_from_db()
    assert (generation.status, len(stored)) == (Status.CANCELLED, 1)
    assert not stored[0].file  # removed
