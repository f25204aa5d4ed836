"""Retention: the shorter of the owner's and the administrator's period applies."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import User
from inpainting.generations import retention
from inpainting.generations.retention import sweep
from inpainting.models import (
    Act,
    DeliveryState,
    Generation,
    LedgerEntry,
    PeriodicJob,
    Retention,
    Status,
    WebhookDelivery,
)
from inpainting.worker import own_threads, poller, watchdog

Generate = Callable[..., Generation]


def ended_days_ago(generation: Generation, days: float) -> Generation:
    then = timezone.now() - timedelta(days=days)
    Generation.objects.filter(pk=generation.pk).update(finished_at=then, created_at=then)
    return generation


def kept() -> set[Generation]:
    return set(Generation.objects.all())


def test_without_a_retention_period_everything_is_kept(alice: User, generate: Generate) -> None:
    old = ended_days_ago(generate(alice), 10_000)
    assert sweep(timezone.now())
    assert kept() == {old}


@pytest.mark.parametrize(
    ("general", "own", "days"), [(None, None, None), (30, None, 30), (None, 7, 7), (30, 7, 7), (7, 30, 7)]
)
def test_the_shorter_retention_period_applies(
    general: int | None, own: int | None, days: int | None, alice: User, bob: User, generate: Generate
) -> None:
    Retention.set(alice, own)
    Retention.set(None, general)
    assert Retention.for_user(alice) == days
    assert Retention.for_user(bob) == general
    times = (6.9, 7.1, 29.9, 30.1)
    alices = {ended_days_ago(generate(alice), days): days for days in times}
    bobs = {ended_days_ago(generate(bob), days): days for days in times}
    assert sweep(timezone.now())
    forever = 10**6
    assert kept() == {
        *(generation for generation, ago in alices.items() if ago < (days or forever)),
        *(generation for generation, ago in bobs.items() if ago < (general or forever)),
    }


def test_unended_generations_are_kept_at_any_age(alice: User, generate: Generate) -> None:
    Retention.set(None, 1)
    waiting, held = (ended_days_ago(generate(alice, run=False), 100) for _ in range(2))
    held.start()
    assert sweep(timezone.now())
    assert kept() == {waiting, held}


@pytest.mark.django_db(transaction=True)
def test_the_files_are_deleted_too(alice: User, generate: Generate) -> None:
    Retention.set(alice, 1)
    generation = ended_days_ago(generate(alice), 2)
    path = Path(settings.DATA_DIR, "pictures", str(generation.source.file.name))
    assert path.exists()
    sweep(timezone.now())
    assert not path.exists()


def test_webhook_deliveries_are_deleted_unless_they_are_pending(alice: User, bob: User) -> None:
    Retention.set(alice, 7)
    _, waiting, young, bobs = (
        WebhookDelivery.create_test(owner, "https://a.example") for owner in (alice, alice, alice, bob)
    )
    WebhookDelivery.objects.exclude(pk=waiting.pk).update(state=DeliveryState.DELIVERED)
    WebhookDelivery.objects.exclude(pk=young.pk).update(created_at=timezone.now() - timedelta(days=8))
    sweep(timezone.now())
    assert set(WebhookDelivery.objects.all()) == {waiting, young, bobs}
    Retention.set(None, 7)
    sweep(timezone.now())
    assert set(WebhookDelivery.objects.all()) == {waiting, young}


def test_ledger_rows_beyond_every_limit_are_deleted(alice: User) -> None:
    now = timezone.now()
    for hours in (23.9, 24.1):
        LedgerEntry.objects.create(owner=alice, act=Act.GENERATION, at=now - timedelta(hours=hours))
    sweep(now)
    assert LedgerEntry.objects.get().at == now - timedelta(hours=23.9)


def test_generations_are_deleted_in_small_batches_the_oldest_first(alice: User, generate: Generate) -> None:
    Retention.set(None, 1)
    old, *_ = (ended_days_ago(generate(alice), days) for days in (3, 5, 4))
    assert not sweep(timezone.now(), at_most=2)
    assert kept() == {old}
    assert sweep(timezone.now(), at_most=2)
    assert kept() == set()


def test_a_user_cannot_choose_a_period_above_the_maximum_or_none(alice: User) -> None:
    Retention.set(None, 30)
    for days in (31, 0, -1, 10**6):
        with pytest.raises(ValidationError):
            Retention.set(alice, days)
    assert Retention.for_user(alice) == 30
    assert Retention.set(alice, 30).days == 30


class StopPolling(BaseException):
    """Ends the poller."""


def poll_three_times(monkeypatch: pytest.MonkeyPatch, before_each: Callable[[], object]) -> None:
    polls: list[object] = []
    poll = poller.poll

    def counted(*others: poller.Waiting) -> bool:
        if len(polls) == 3:
            raise StopPolling
        polls.append(before_each())
        return poll(*others)

    PeriodicJob.add(retention.SWEEP)
    monkeypatch.setattr(poller, "poll", counted)
    monkeypatch.setattr(poller, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(poller, "close_old_connections", lambda: None)
    with pytest.raises(StopPolling):
        poller.poll_forever(poller.Waiting(retention.due_sweep(), retention.sweep_if_due), is_woken=bool)


def test_a_deletion_that_hangs_does_not_delay_polling(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    started, answers, swept = threading.Event(), threading.Event(), []

    def hanging(now: datetime) -> bool:
        started.set()
        swept.append(answers.wait(20))
        return True

    monkeypatch.setattr(retention, "sweep", hanging)
    poll_three_times(monkeypatch, lambda: None)
    assert started.wait(20)
    assert not swept  # the poller went on while the first sweep waits
    answers.set()
    assert own_threads.wait_until_idle(seconds=20)
    assert swept == [True]


def test_a_process_that_stops_starts_no_deletions(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "sweep", lambda now: pytest.fail("it sweeps"))
    watchdog.draining.set()
    poll_three_times(monkeypatch, lambda: None)
    assert PeriodicJob.claim(retention.SWEEP, seconds=1)  # left to another process


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_the_poller_deletes_expired_generations(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    Retention.set(None, 1)
    ended_days_ago(generate(alice), 2)
    looks: list[int] = []
    sweeps = []

    def counted(now: datetime) -> bool:
        sweeps.append(now)
        return sweep(now)

    monkeypatch.setattr(retention, "sweep", counted)
    poll_three_times(monkeypatch, lambda: looks.append(Generation.objects.count()))
    assert looks == [1, 0, 0]
    assert len(sweeps) == 1  # the next sweep is an hour later


def test_a_user_sets_the_retention_period_on_the_page(client: Client, alice: User, bob: User) -> None:
    Retention.set(None, 30)
    client.force_login(alice)
    page = client.get("/storage/").content.decode()
    assert 'max="30"' in page
    assert client.post("/storage/", {"days": "7"}).status_code == 302
    assert (Retention.for_user(alice), Retention.for_user(bob)) == (7, 30)
    refused = client.post("/storage/", {"days": "31"})
    assert (refused.status_code, "At most 30 days" in refused.content.decode()) == (200, True)
    assert Retention.for_user(alice) == 7
    assert client.post("/storage/", {"days": ""}).status_code == 302
    assert Retention.for_user(alice) == 30


def test_a_user_deletes_everything_on_the_page(client: Client, alice: User, bob: User, generate: Generate) -> None:
    generate(alice)
    bobs = generate(bob)
    url = "/storage/delete-everything/"
    assert client.post(url).status_code == 302
    assert Generation.objects.count() == 2  # the anonymous request deleted nothing
    client.force_login(alice)
    assert client.get(url).status_code == 405
    assert client.post(url)["Location"].startswith("/accounts/reauthenticate/")  # a stolen session deletes nothing
    client.post("/accounts/reauthenticate/", {"password": "a guess", "next": url})
    assert Generation.objects.count() == 2
    assert (
        client.post("/accounts/reauthenticate/", {"password": "correct horse", "next": url})["Location"] == "/storage/"
    )
    assert kept() == {bobs}


def test_an_administrator_sets_the_longest_in_the_admin(client: Client, alice: User) -> None:
    client.force_login(User.objects.create_superuser("boss@example.com"))
    for _ in range(2):  # a single row holds the general period
        client.post("/admin/inpainting/retention/add/", {"user": "", "days": "30"})
    assert Retention.objects.count() == 1
    assert Retention.for_user(alice) == 30
    assert client.get("/admin/inpainting/retention/").status_code == 200


def test_the_command_sets_it_and_prints_what_will_be_deleted(alice: User, generate: Generate) -> None:
    ended_days_ago(generate(alice), 10)

    def output(*arguments: str) -> str:
        out = io.StringIO()
        call_command("set_retention", *arguments, stdout=out)
        return out.getvalue()

    assert output("30").startswith("0 ")
    assert output("7", "--user", "Alice@example.com").startswith("1 ")
    assert (Retention.maximum(), Retention.for_user(alice)) == (30, 7)
    assert output("never", "--user", alice.email).startswith("0 ")
    assert Retention.for_user(alice) == 30
    for wrong in (["0"], ["soon"], ["31", "--user", alice.email], ["3", "--user", "nobody@example.com"]):
        with pytest.raises(CommandError):
            output(*wrong)
    assert Generation.objects.get().status == Status.SUCCEEDED


def test_an_expired_generation_is_deleted_regardless_of_retention(alice: User, generate: Generate) -> None:
    temporary, kept_one, running = generate(alice), generate(alice), generate(alice)
    now = timezone.now()
    Generation.objects.filter(pk=temporary.pk).update(expires_at=now)
    Generation.objects.filter(pk=running.pk).update(expires_at=now, status=Status.RUNNING)
    assert sweep(now - timedelta(seconds=1))
    assert kept() == {temporary, kept_one, running}
    assert sweep(now + timedelta(seconds=1))
    assert kept() == {kept_one, running}


def test_expired_counters_are_deleted_from_the_table_of_the_cache(db: None, settings: Any) -> None:
    """Django deletes them when the table is full, and counts its rows whenever it stores one."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "counters"}}
    call_command("createcachetable", verbosity=0)
    caches["default"].set("old", 1, timeout=-3600)
    caches["default"].set("new", 2, timeout=3600)
    sweep(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key FROM counters")
        assert [key for (key,) in cursor.fetchall()] == [":1:new"]
