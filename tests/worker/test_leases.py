"""Leases and fences: one worker holds a generation at a time; a worker that lost its lease cannot change it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown

from accounts.models import User
from inpainting import tasks
from inpainting.generations import submit
from inpainting.models import GeneratedImage, Generation, Status
from inpainting.realtime import events
from inpainting.worker import own_threads, poller, watchdog
from inpainting.worker import run as running
from inpainting.worker.queue import fair_queue
from inpainting.worker.run import run, run_waiting
from inpainting.worker.waiters import wait_until_ended
from tests.support.threads import with_own_connection

Generate = Callable[..., Generation]


def expire_the_lease(generation: Generation) -> None:
    Generation.objects.filter(pk=generation.pk).update(lease_until=timezone.now() - timedelta(hours=1))


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


def test_only_one_of_two_workers_starts_a_queued_generation(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    other = Generation.objects.get(pk=generation.pk)
    assert generation.start()
    assert not other.start()
    assert (generation.fence, generation.attempts) == (1, 1)


def test_progress_renews_the_lease(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    generation.start()
    expire_the_lease(generation)
    assert generation.advance(1, 4)
    assert not Generation.abandoned(grace_seconds=0).exists()


def test_a_worker_without_the_lease_cannot_change_the_generation(alice: User, generate: Generate) -> None:
    late = generate(alice, run=False)
    late.start()
    expire_the_lease(late)
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


def test_a_worker_that_lost_its_lease_leaves_no_files(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = generate(alice, run=False)
    late.start()
    before = files()
    commit = running.retry_until_committed

    def commit_after_losing_the_lease(*args: Any, **options: Any) -> bool:
        expire_the_lease(late)
        monkeypatch.setattr(running, "retry_until_committed", commit)
        for generation in Generation.abandoned(grace_seconds=0):
            generation.requeue()
        run_waiting()  # another worker paints it meanwhile
        return commit(*args, **options)

    monkeypatch.setattr(running, "retry_until_committed", commit_after_losing_the_lease)
    run(late)
    kept = GeneratedImage.objects.get()
    assert len(files() - before) == 3  # the result, its thumbnail and that of the source image
    assert default_storage.exists(str(kept.file.name))
    assert Generation.objects.get().status == Status.SUCCEEDED


def test_an_expired_lease_requeues_the_generation_and_a_valid_one_does_not(alice: User, generate: Generate) -> None:
    held, abandoned = generate(alice, run=False), generate(alice, run=False)
    for generation in (held, abandoned):
        generation.start()
    expire_the_lease(abandoned)
    for generation in Generation.abandoned(grace_seconds=7):
        generation.requeue()
    for generation in (held, abandoned):
        generation.refresh_from_db()
    assert (held.status, abandoned.status) == (Status.RUNNING, Status.QUEUED)


def test_a_stopping_server_releases_its_generations_without_counting_the_attempt(
    alice: User, generate: Generate
) -> None:
    generation = generate(alice, run=False)
    for _ in range(5):  # more often than attempts are allowed
        assert generation.start()
        poller.release_own()
        generation.refresh_from_db()
        assert (generation.status, generation.attempts) == (Status.QUEUED, 0)


def test_what_fails_while_the_process_stops_is_released(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_threads(*arguments: object) -> None:
        watchdog.stopping.set()
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    generation = generate(alice, run=False)
    assert generation.start()
    monkeypatch.setattr(running, "run_in_thread", refuse_threads)
    run(generation)
    generation.refresh_from_db()
    assert (generation.status, generation.attempts, generation.error_code) == (Status.QUEUED, 0, "")


@pytest.mark.django_db(transaction=True)
def test_a_stopping_server_also_releases_what_it_is_about_to_start(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)
    generation, start = generate(alice, run=False), Generation.start
    stopping = threading.Thread(target=with_own_connection, args=[poller.release_own])

    def slow_start(self: Generation) -> bool:
        stopping.start()
        stopping.join(0.3)
        return start(self)

    monkeypatch.setattr(Generation, "start", slow_start)
    assert fair_queue.start_next() is not None
    stopping.join()
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.QUEUED, 0)


def test_releasing_a_generation_after_a_cancel_ends_it(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    generation.start()
    Generation.objects.get(pk=generation.pk).cancel()
    assert generation.release()
    assert generation.status == Status.CANCELLED
    assert not Generation.startable().exists()


def test_a_stopping_process_starts_nothing(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    poller.release_own()
    assert fair_queue.start_next() is None
    assert not async_to_sync(wait_until_ended)(generation.pk)  # callers stop waiting too


@pytest.mark.parametrize("broken", ["publish", "notify"])
def test_a_failing_event_or_notification_undoes_nothing(
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


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_a_notification_that_cannot_be_sent_loses_nothing(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*arguments: object, **options: object) -> None:
        raise BrokerDown("the broker is down")

    with monkeypatch.context() as broken_broker:
        broken_broker.setattr(tasks.run_waiting, "apply_async", down)
        broken_broker.setattr(tasks, "_paused_until", 0.0)
        generation = generate(alice)
    assert generation.status == Status.QUEUED
    poller.poll()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


def test_users_take_turns_and_the_oldest_generation_of_each_comes_first(
    alice: User, bob: User, generate: Generate
) -> None:
    first, second, third = (generate(alice, run=False) for _ in range(3))
    bobs = generate(bob, run=False)
    assert [pk for pk, _ in fair_queue.fair_order_in()] == [first.pk, bobs.pk, second.pk, third.pk]
    assert fair_queue.start_next() == first
    assert fair_queue.start_next() == bobs  # alice was served last
    assert fair_queue.start_next() == second
    assert fair_queue.start_next() == third
    assert fair_queue.start_next() is None


def test_before_it_stops_a_process_waits_for_what_it_runs_and_starts_nothing(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    def wait_until_idle(*, seconds: float) -> bool:
        waits.append(seconds)
        assert fair_queue.start_next() is None
        assert started is not None
        assert started.succeed([])
        return True

    monkeypatch.setattr(own_threads, "wait_until_idle", wait_until_idle)
    generate(alice, run=False), generate(alice, run=False)
    started = fair_queue.start_next()
    assert started is not None
    poller.stop_working(drain_seconds=7)
    assert waits == [7]
    assert sorted(Generation.objects.values_list("status", "attempts")) == [("queued", 0), ("succeeded", 1)]
