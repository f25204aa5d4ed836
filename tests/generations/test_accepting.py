"""Accepting: the same Idempotency-Key makes one generation, limits hold exactly, estimates follow the past."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.errors import InvalidRequest
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest
from inpainting.generations import estimate, submit
from inpainting.generations.estimate import likely_seconds, place_in_line
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.limits import LimitReached
from inpainting.models import Generation, SourceImage, UserLimits

Generate = Callable[..., Generation]
ONE, OTHER = Idempotency("key-1", "a" * 64), Idempotency("key-1", "b" * 64)


@pytest.fixture
def request_(photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> InpaintRequest:
    return InpaintRequest(Picture(photo), hole)


@pytest.fixture
def _no_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "ring", lambda: None)


def all_at_once(count: int, call: Callable[[int], object]) -> list[object]:
    """`call(number)` on as many threads; what each returned or raised."""

    def on_a_thread(number: int) -> object:
        try:
            return call(number)
        except InvalidRequest as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(on_a_thread, range(count)))


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_bell")
def test_fifty_parallel_calls_with_one_key_make_one_generation(alice: User, request_: InpaintRequest) -> None:
    before = files()
    made = all_at_once(50, lambda _: submit.submit(request_, owner=alice, idempotency=ONE))
    generation = Generation.objects.get()
    assert made == [generation] * 50
    assert SourceImage.objects.count() == 1
    assert len(files() - before) == 3  # source, its thumbnail, mask: what lost left nothing


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_bell")
def test_a_key_that_comes_with_another_request_is_refused(alice: User, bob: User, request_: InpaintRequest) -> None:
    generation = submit.submit(request_, owner=alice, idempotency=ONE)
    assert ONE.earlier(alice) == generation
    with pytest.raises(InvalidRequest) as caught:
        submit.submit(request_, owner=alice, idempotency=OTHER)
    assert caught.value.code == "idempotency_key_reused"
    assert submit.submit(request_, owner=bob, idempotency=OTHER) != generation  # each owner's keys are their own


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_no_or_endless_length_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 255"):
        Idempotency(key, "a" * 64)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_bell")
@pytest.mark.parametrize("limit", ["waiting", "per_minute", "per_day"])
def test_limits_are_exact_under_64_parallel_calls(alice: User, request_: InpaintRequest, limit: str) -> None:
    UserLimits.objects.create(user=alice, **{limit: 10})
    made = all_at_once(64, lambda _: submit.submit(request_, owner=alice))
    assert Generation.objects.count() == 10
    refused = [error for error in made if isinstance(error, LimitReached)]
    assert len(refused) == 54
    assert {(error.limit, error.actual) for error in refused} == {(10, 10)}
    assert SourceImage.objects.count() == 10


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_bell")
def test_a_persons_own_limits_come_before_everybodys(alice: User, bob: User, request_: InpaintRequest) -> None:
    UserLimits.objects.create(user=None, per_day=1)
    UserLimits.objects.create(user=bob, per_day=2)
    submit.submit(request_, owner=alice)
    submit.submit(request_, owner=bob)
    submit.submit(request_, owner=bob)
    for person in (alice, bob):
        with pytest.raises(LimitReached) as caught:
            submit.submit(request_, owner=person)
        assert caught.value.code == "quota_exceeded"
        assert 86_000 < (caught.value.retry_after_seconds or 0) <= 86_400


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_bell")
def test_what_is_older_than_the_window_does_not_count(alice: User, request_: InpaintRequest) -> None:
    UserLimits.objects.create(user=alice, per_day=1, megapixels_per_day=1)
    submit.submit(request_, owner=alice)
    Generation.objects.update(created_at=timezone.now() - timedelta(hours=25))
    submit.submit(request_, owner=alice)


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_bell")
@pytest.mark.parametrize("limit", ["megapixels_per_day", "stored_megabytes"])
def test_pixels_and_bytes_are_limited_too(alice: User, request_: InpaintRequest, limit: str) -> None:
    UserLimits.objects.create(user=alice, **{limit: 1})
    submit.submit(request_, owner=alice)
    SourceImage.objects.update(byte_count=2_000_000, width=1000, height=1000)
    with pytest.raises(LimitReached):
        submit.submit(request_, owner=alice)
    assert Generation.objects.count() == 1


def test_the_likely_time_is_that_of_the_most_similar() -> None:
    past = [(100, 1.0)] * 9 + [(10_000, 5.0)] * 9
    assert likely_seconds(150, past) == 1.0
    assert likely_seconds(9_000, past) == 5.0
    assert likely_seconds(9_000, []) is None


@pytest.mark.django_db
def test_who_waits_knows_the_place_and_the_time(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = generate(alice, run=False), generate(alice, run=False)
    assert place_in_line(second) == (2, None)  # nothing was painted yet
    monkeypatch.setattr(estimate, "past_of", lambda engine: [(first.painted_pixels, 4.0)])
    monkeypatch.setattr(settings, "WORKERS", 1)
    assert place_in_line(first) == (1, 4.0)
    assert place_in_line(second) == (2, 8.0)
    first.start()
    assert place_in_line(first) is None


@pytest.mark.django_db
def test_these_tests_run_on_the_database_they_were_asked_to() -> None:
    asked_for_postgres = bool(os.environ.get("DREAMLAYER_TEST_POSTGRES"))
    assert (connection.vendor == "postgresql") == asked_for_postgres
