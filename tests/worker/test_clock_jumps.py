"""The wall clock jumps by an hour: every recorded time moves instead, by an hour in the other direction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from inpainting.models import Generation, Status, WebhookDelivery
from inpainting.worker import poller, watchdog
from inpainting.worker.queue.fair_queue import start_next

Generate = Callable[..., Generation]
HOUR = timedelta(hours=1)


def set_clock(by: timedelta) -> None:
    times = ("created_at", "started_at", "finished_at", "lease_until")
    Generation.objects.update(**{name: F(name) - by for name in times})
    WebhookDelivery.objects.update(lease_until=F("lease_until") - by)


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
def test_running_work_of_a_living_process_continues(alice: User, generate: Generate, by: timedelta) -> None:
    generation = generate(alice, run=False)
    assert start_next() == generation
    with watchdog.heartbeat(str(generation)):
        set_clock(by)
        watchdog.end_if_hung()
        poller.return_abandoned()
        generation.refresh_from_db()
        assert generation.advance(1, 2)  # which renews the lease
        assert generation.lease_until is not None
        assert abs(generation.lease_until - timezone.now()) < timedelta(minutes=1)
        assert generation.succeed([])


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_work_of_a_dead_process_runs_again_at_the_next_start(alice: User, generate: Generate, by: timedelta) -> None:
    generation = generate(alice, run=False)
    assert start_next() == generation
    set_clock(by)
    poller.recover()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


def test_a_pause_does_not_grow_when_the_clock_is_set_back(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    assert start_next() == generation
    generation.refresh_from_db()
    assert generation.release(pause_seconds=30)
    assert start_next() is None
    set_clock(-HOUR)
    assert start_next() == generation


def test_users_take_turns_after_the_clock_was_set_back(alice: User, bob: User, generate: Generate) -> None:
    first = generate(alice, run=False)
    assert start_next() == first
    set_clock(-HOUR)
    bobs = [generate(bob, run=False) for _ in range(3)]
    generate(alice, run=False)
    started = [start_next() for _ in range(3)]
    assert {generation.owner for generation in started if generation} == {alice, bob}
    assert bobs[2] not in started


def test_a_webhook_is_sent_after_the_clock_was_set_back(alice: User) -> None:
    delivery = WebhookDelivery.create_test(alice, "https://alice.example/hook")
    assert delivery.claim(lease_seconds=30)
    assert not WebhookDelivery.due().exists()
    set_clock(-HOUR)
    assert WebhookDelivery.due().get() == delivery


def test_a_duration_is_never_negative(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    Generation.objects.update(started_at=F("finished_at") + HOUR)
    generation.refresh_from_db()
    assert generation.seconds == 0
