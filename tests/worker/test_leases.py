"""Leases and fences: a generation has one holder at a time, and who comes late changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown

from accounts.models import User
from inpainting import tasks
from inpainting.generations import recovery, submit
from inpainting.models import GeneratedImage, Generation, Status
from inpainting.realtime import events
from inpainting.worker import fair_queue
from inpainting.worker import run as running
from inpainting.worker.run import run, run_waiting
from inpainting.worker.waiting import wait_until_ended

Generate = Callable[..., Generation]


def let_the_lease_run_out(generation: Generation) -> None:
    Generation.objects.filter(pk=generation.pk).update(lease_until=timezone.now() - timedelta(hours=1))


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


def test_a_waiting_generation_is_started_by_one_of_two(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    other = Generation.objects.get(pk=generation.pk)
    assert generation.start()
    assert not other.start()
    assert (generation.fence, generation.attempts) == (1, 1)


def test_progress_renews_the_lease(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    generation.start()
    let_the_lease_run_out(generation)
    assert generation.advance(1, 4)
    assert not Generation.abandoned(grace_seconds=0).exists()


def test_who_lost_the_lease_can_change_nothing(alice: User, generate: Generate) -> None:
    late = generate(alice, run=False)
    late.start()
    let_the_lease_run_out(late)
    assert Generation.abandoned(grace_seconds=0).get().requeue()
    assert not late.fail(code="late", message="it waits for another")
    holder = Generation.objects.get(pk=late.pk)
    assert holder.start()
    assert not late.advance(1, 2)
    assert not late.succeed([])
    assert not late.fail(code="late", message="too late")
    assert not late.requeue()
    assert not late.release()
    assert holder.advance(1, 2)
    assert holder.attempts == 2


def test_a_late_worker_leaves_no_file_behind(alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    late = generate(alice, run=False)
    late.start()
    before = files()
    store = running.store

    def overtaken(*args: object) -> None:
        store(*args)  # type: ignore[arg-type]
        let_the_lease_run_out(late)
        monkeypatch.setattr(running, "store", store)
        for generation in Generation.abandoned(grace_seconds=0):
            generation.requeue()
        run_waiting()  # somebody else paints it meanwhile

    monkeypatch.setattr(running, "store", overtaken)
    run(late)
    kept = GeneratedImage.objects.get()
    assert len(files() - before) == 2  # the image and its thumbnail
    assert default_storage.exists(str(kept.file.name))
    assert Generation.objects.get().status == Status.SUCCEEDED


def test_an_abandoned_generation_waits_again_and_a_held_one_does_not(alice: User, generate: Generate) -> None:
    held, abandoned = generate(alice, run=False), generate(alice, run=False)
    for generation in (held, abandoned):
        generation.start()
    let_the_lease_run_out(abandoned)
    for generation in Generation.abandoned(grace_seconds=7):
        generation.requeue()
    for generation in (held, abandoned):
        generation.refresh_from_db()
    assert (held.status, abandoned.status) == (Status.RUNNING, Status.QUEUED)


def test_a_stopping_server_hands_back_without_counting(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    for _ in range(5):  # more often than attempts are allowed
        assert generation.start()
        recovery.release_own()
        generation.refresh_from_db()
        assert (generation.status, generation.attempts) == (Status.QUEUED, 0)


def test_a_hand_back_after_a_cancel_ends_it(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    generation.start()
    Generation.objects.get(pk=generation.pk).cancel()
    assert generation.release()
    assert generation.status == Status.CANCELLED
    assert not Generation.startable().exists()


def test_a_stopping_process_starts_nothing(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    recovery.release_own()
    assert fair_queue.start_next() is None
    assert not wait_until_ended(generation)  # and nobody waits for it any longer


@pytest.mark.parametrize("broken", ["publish", "notify"])
def test_a_message_that_cannot_be_sent_undoes_nothing(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def out_of_order(*args: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(*{"publish": (events, "publish"), "notify": (submit, "notify_workers")}[broken], out_of_order)
    generation = generate(alice)
    run_waiting()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED
    assert default_storage.exists(str(generation.images.get().file.name))
    assert default_storage.exists(str(generation.source.file.name))


def test_a_bell_that_cannot_be_rung_loses_nothing(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> None:
        raise BrokerDown("the broker is down")

    with monkeypatch.context() as away:
        away.setattr(tasks.run_waiting, "delay", down)
        generation = generate(alice)
    assert generation.status == Status.QUEUED
    recovery.poll()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


def test_users_take_turns_and_each_ones_oldest_comes_first(alice: User, bob: User, generate: Generate) -> None:
    first, second, third = (generate(alice, run=False) for _ in range(3))
    bobs = generate(bob, run=False)
    assert list(fair_queue.fair_order_in()) == [first.pk, bobs.pk, second.pk, third.pk]
    assert fair_queue.start_next() == first
    assert fair_queue.start_next() == bobs  # alice was served last
    assert fair_queue.start_next() == second
    assert fair_queue.start_next() == third
    assert fair_queue.start_next() is None
