"""How long generations are kept: the shorter of what their owner and the administrator say."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.models import User
from inpainting.generations import recovery
from inpainting.generations.retention import sweep
from inpainting.models import Act, DeliveryState, Generation, LedgerEntry, Retention, Status, WebhookDelivery

Generate = Callable[..., Generation]


def ended_days_ago(generation: Generation, days: float) -> Generation:
    then = timezone.now() - timedelta(days=days)
    Generation.objects.filter(pk=generation.pk).update(finished_at=then, created_at=then)
    return generation


def kept() -> set[Generation]:
    return set(Generation.objects.all())


def test_without_a_word_everything_is_kept(alice: User, generate: Generate) -> None:
    old = ended_days_ago(generate(alice), 10_000)
    assert sweep(timezone.now())
    assert kept() == {old}


@pytest.mark.parametrize(
    ("everybody", "own", "days"), [(None, None, None), (30, None, 30), (None, 7, 7), (30, 7, 7), (7, 30, 7)]
)
def test_the_shorter_of_the_two_holds(
    everybody: int | None, own: int | None, days: int | None, alice: User, bob: User, generate: Generate
) -> None:
    Retention.set(alice, own)
    Retention.set(None, everybody)
    assert Retention.of(alice) == days
    assert Retention.of(bob) == everybody
    times = (6.9, 7.1, 29.9, 30.1)
    alices = {ended_days_ago(generate(alice), days): days for days in times}
    bobs = {ended_days_ago(generate(bob), days): days for days in times}
    assert sweep(timezone.now())
    forever = 10**6
    assert kept() == {
        *(generation for generation, ago in alices.items() if ago < (days or forever)),
        *(generation for generation, ago in bobs.items() if ago < (everybody or forever)),
    }


def test_what_has_not_ended_is_kept_however_old(alice: User, generate: Generate) -> None:
    Retention.set(None, 1)
    waiting, held = (ended_days_ago(generate(alice, run=False), 100) for _ in range(2))
    held.start()
    assert sweep(timezone.now())
    assert kept() == {waiting, held}


@pytest.mark.django_db(transaction=True)
def test_the_files_go_too(alice: User, generate: Generate) -> None:
    Retention.set(alice, 1)
    generation = ended_days_ago(generate(alice), 2)
    path = Path(settings.DATA_DIR, "pictures", str(generation.source.file.name))
    assert path.exists()
    sweep(timezone.now())
    assert not path.exists()


def test_webhooks_go_too_unless_they_are_still_to_be_sent(alice: User, bob: User) -> None:
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


def test_the_ledger_forgets_what_no_limit_counts(alice: User) -> None:
    now = timezone.now()
    for hours in (23.9, 24.1):
        LedgerEntry.objects.create(owner=alice, act=Act.GENERATION, at=now - timedelta(hours=hours))
    sweep(now)
    assert LedgerEntry.objects.get().at == now - timedelta(hours=23.9)


def test_many_go_a_few_at_a_time_the_oldest_first(alice: User, generate: Generate) -> None:
    Retention.set(None, 1)
    old, *_ = (ended_days_ago(generate(alice), days) for days in (3, 5, 4))
    assert not sweep(timezone.now(), at_most=2)
    assert kept() == {old}
    assert sweep(timezone.now(), at_most=2)
    assert kept() == set()


def test_nobody_chooses_longer_than_is_allowed_or_nothing_at_all(alice: User) -> None:
    Retention.set(None, 30)
    for days in (31, 0, -1, 10**6):
        with pytest.raises(ValidationError):
            Retention.set(alice, days)
    assert Retention.of(alice) == 30
    assert Retention.set(alice, 30).days == 30


def test_the_lookout_sweeps(alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    Retention.set(None, 1)
    ended_days_ago(generate(alice), 2)
    looks = []

    class Enough(BaseException):
        pass

    def poll() -> None:
        looks.append(Generation.objects.count())
        if len(looks) == 3:
            raise Enough

    monkeypatch.setattr(recovery, "poll", poll)
    monkeypatch.setattr(recovery, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(recovery, "close_old_connections", lambda: None)
    sweeps = []

    def counted(now: datetime) -> bool:
        sweeps.append(now)
        return sweep(now)

    monkeypatch.setattr(recovery, "sweep", counted)
    with pytest.raises(Enough):
        recovery._poll_forever()
    assert looks == [1, 0, 0]
    assert len(sweeps) == 1  # the next one in an hour


def test_a_person_says_how_long_on_the_page(client: Client, alice: User, bob: User) -> None:
    Retention.set(None, 30)
    client.force_login(alice)
    page = client.get("/storage/").content.decode()
    assert 'max="30"' in page
    assert client.post("/storage/", {"days": "7"}).status_code == 302
    assert (Retention.of(alice), Retention.of(bob)) == (7, 30)
    refused = client.post("/storage/", {"days": "31"})
    assert (refused.status_code, "At most 30 days" in refused.content.decode()) == (200, True)
    assert Retention.of(alice) == 7
    assert client.post("/storage/", {"days": ""}).status_code == 302
    assert Retention.of(alice) == 30


def test_a_person_deletes_everything_on_the_page(client: Client, alice: User, bob: User, generate: Generate) -> None:
    generate(alice)
    bobs = generate(bob)
    url = "/storage/delete-everything/"
    assert client.post(url).status_code == 302
    assert Generation.objects.count() == 2  # nobody was signed in
    client.force_login(alice)
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 302
    assert kept() == {bobs}


def test_an_administrator_sets_the_longest_in_the_admin(client: Client, alice: User) -> None:
    client.force_login(User.objects.create_superuser("boss@example.com"))
    for _ in range(2):  # there is one row for everybody
        client.post("/admin/inpainting/retention/add/", {"user": "", "days": "30"})
    assert Retention.objects.count() == 1
    assert Retention.of(alice) == 30
    assert client.get("/admin/inpainting/retention/").status_code == 200


def test_a_command_sets_it_and_says_what_that_will_delete(alice: User, generate: Generate) -> None:
    ended_days_ago(generate(alice), 10)

    def said(*arguments: str) -> str:
        out = io.StringIO()
        call_command("set_retention", *arguments, stdout=out)
        return out.getvalue()

    assert said("30").startswith("0 ")
    assert said("7", "--user", "Alice@example.com").startswith("1 ")
    assert (Retention.maximum(), Retention.of(alice)) == (30, 7)
    assert said("never", "--user", alice.email).startswith("0 ")
    assert Retention.of(alice) == 30
    for wrong in (["0"], ["soon"], ["31", "--user", alice.email], ["3", "--user", "nobody@example.com"]):
        with pytest.raises(CommandError):
            said(*wrong)
    assert Generation.objects.get().status == Status.SUCCEEDED
