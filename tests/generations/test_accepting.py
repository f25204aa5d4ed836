"""Accepting: one generation per Idempotency-Key, exact limits, estimates from past run times."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.generations import submit
from inpainting.generations.delete import delete_all_of_user
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.uploads import store_upload
from inpainting.models import Batch, Generation, LedgerEntry, SourceImage, UploadedImage, UserLimits
from inpainting.planning import planner
from inpainting.worker import run_time_estimates
from inpainting.worker.run_time_estimates import (
    GenerationFeatures,
    QueuePosition,
    RuntimeEstimator,
    StepPace,
    queue_position,
)

Generate = Callable[..., Generation]
ONE, OTHER = Idempotency("key-1", "a" * 64), Idempotency("key-1", "b" * 64)


@pytest.fixture
def request_(photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> InpaintRequest:
    return InpaintRequest(CanonicalImage(photo), hole)


@pytest.fixture
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)


def all_at_once(count: int, call: Callable[[int], object]) -> list[object]:
    """Run `call(number)` on that many threads; return what each returned or raised."""

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
@pytest.mark.usefixtures("_no_worker")
def test_fifty_parallel_calls_with_one_key_make_one_generation(alice: User, request_: InpaintRequest) -> None:
    before = files()
    made = all_at_once(50, lambda _: submit.submit(request_, submit.Submission(alice, idempotency=ONE)))
    generation = Generation.objects.get()
    assert made == [generation] * 50
    assert SourceImage.objects.count() == 1
    assert len(files() - before) == 2  # source and mask: the refused requests left no files


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_a_key_reused_with_another_request_is_refused(alice: User, bob: User, request_: InpaintRequest) -> None:
    generation = submit.submit(request_, submit.Submission(alice, idempotency=ONE))
    assert ONE.earlier(alice) == generation
    with pytest.raises(InvalidRequest) as caught:
        submit.submit(request_, submit.Submission(alice, idempotency=OTHER))
    assert caught.value.code == "idempotency_key_reused"
    assert (
        submit.submit(request_, submit.Submission(bob, idempotency=OTHER)) != generation
    )  # each owner's keys are their own


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_empty_or_oversized_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 255"):
        Idempotency(key, "a" * 64)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
@pytest.mark.parametrize("limit", ["waiting", "per_minute", "per_day"])
def test_limits_are_exact_under_64_parallel_calls(alice: User, request_: InpaintRequest, limit: str) -> None:
    UserLimits.objects.create(user=alice, **{limit: 10})
    made = all_at_once(64, lambda _: submit.submit(request_, submit.Submission(alice)))
    assert Generation.objects.count() == 10
    refused = [error for error in made if isinstance(error, LimitReached)]
    assert len(refused) == 54
    assert {(error.limit, error.actual) for error in refused} == {(10, 10)}
    assert SourceImage.objects.count() == 10


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
def test_a_users_own_limits_override_the_general_ones(alice: User, bob: User, request_: InpaintRequest) -> None:
    UserLimits.objects.create(user=None, per_day=1)
    UserLimits.objects.create(user=bob, per_day=2)
    submit.submit(request_, submit.Submission(alice))
    submit.submit(request_, submit.Submission(bob))
    submit.submit(request_, submit.Submission(bob))
    for person in (alice, bob):
        with pytest.raises(LimitReached) as caught:
            submit.submit(request_, submit.Submission(person))
        assert caught.value.code == "quota_exceeded"
        assert 86_000 < (caught.value.retry_after_seconds or 0) <= 86_400


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("per_minute", r"Your limit for generations in a minute is 1, and 1 are used\. Try again in (60|[1-5]?\d) s\."),
        ("per_day", r"Your limit for generations in 24 hours is 1, and 1 are used\. Try again in 24 h\."),
        ("waiting", r"Your limit for requests queued or running is 1, .* Try again when one of them has ended\."),
        (
            "stored_megabytes",
            r"Your limit for megabytes stored is 0, .* Delete generations, masks or drafts to make room\.",
        ),
    ],
)
def test_a_limit_says_when_to_try_again(alice: User, request_: InpaintRequest, limit: str, message: str) -> None:
    submit.submit(request_, submit.Submission(alice))
    UserLimits.objects.create(user=alice, **{limit: 0 if limit == "stored_megabytes" else 1})
    with pytest.raises(LimitReached, match=message):
        submit.submit(request_, submit.Submission(alice))


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
def test_generations_before_the_window_do_not_count(alice: User, request_: InpaintRequest) -> None:
    UserLimits.objects.create(user=alice, per_day=1, megapixels_per_day=1)
    submit.submit(request_, submit.Submission(alice))
    LedgerEntry.objects.update(at=timezone.now() - timedelta(hours=25))
    submit.submit(request_, submit.Submission(alice))


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
@pytest.mark.parametrize("limit", ["per_minute", "per_day", "megapixels_per_day"])
def test_deleting_does_not_restore_a_limit(alice: User, bob: User, request_: InpaintRequest, limit: str) -> None:
    UserLimits.objects.create(user=None, **{limit: 1})
    submit.submit(request_, submit.Submission(alice))
    delete_all_of_user(alice)
    with pytest.raises(LimitReached) as caught:
        submit.submit(request_, submit.Submission(alice))
    assert caught.value.code == ("rate_limited" if limit == "per_minute" else "quota_exceeded")
    submit.submit(request_, submit.Submission(bob))


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
def test_a_refused_request_does_not_count(alice: User, request_: InpaintRequest) -> None:
    UserLimits.objects.create(user=alice, waiting=1)
    submit.submit(request_, submit.Submission(alice))
    with pytest.raises(LimitReached):
        submit.submit(request_, submit.Submission(alice))
    assert LedgerEntry.objects.get().pixels == request_.image.size.area


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
@pytest.mark.parametrize("limit", ["megapixels_per_day", "stored_megabytes"])
def test_pixels_and_bytes_are_limited_too(alice: User, request_: InpaintRequest, limit: str) -> None:
    UserLimits.objects.create(user=alice, **{limit: 1})
    submit.submit(request_, submit.Submission(alice))
    SourceImage.objects.update(byte_count=2_000_000)
    LedgerEntry.objects.update(pixels=1_000_000)
    with pytest.raises(LimitReached):
        submit.submit(request_, submit.Submission(alice))
    assert Generation.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
@pytest.mark.parametrize("too_many_bytes", [0, 1])
def test_the_storage_of_a_user_is_limited_to_the_byte(
    alice: User, request_: InpaintRequest, too_many_bytes: int
) -> None:
    UserLimits.objects.create(user=alice, stored_megabytes=2)
    prepared = submit.prepare_generation(planner().plan(request_), submit.Submission(alice))
    needed = sum(image.byte_count for image in prepared.inputs.values())
    uploaded = UploadedImage.from_image(alice, request_.image, expires_at=timezone.now())
    uploaded.byte_count = 2_000_000 - needed + too_many_bytes
    uploaded.save()
    if too_many_bytes:
        with pytest.raises(LimitReached, match="That is too little room"):
            submit.submit(request_, submit.Submission(alice))
    else:
        submit.submit(request_, submit.Submission(alice))
    assert Generation.objects.exists() != bool(too_many_bytes)


@pytest.mark.django_db
@pytest.mark.parametrize("too_many_bytes", [0, 1])
def test_an_upload_is_limited_to_the_byte(alice: User, request_: InpaintRequest, too_many_bytes: int) -> None:
    UserLimits.objects.create(user=alice, stored_megabytes=2)
    first = store_upload(alice, request_.image, keep_for=timedelta(days=1))
    UploadedImage.objects.update(byte_count=2_000_000 - first.byte_count + too_many_bytes)
    if too_many_bytes:
        with pytest.raises(LimitReached):
            store_upload(alice, request_.image, keep_for=timedelta(days=1))
    else:
        store_upload(alice, request_.image, keep_for=timedelta(days=1))
    assert UploadedImage.objects.count() == 2 - too_many_bytes


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
def test_only_limited_quantities_are_counted(alice: User, request_: InpaintRequest) -> None:
    UserLimits.objects.create(user=alice, per_day=9)
    with CaptureQueriesContext(connection) as queries:
        submit.submit(request_, submit.Submission(alice))
    counting = [query["sql"] for query in queries if "COUNT(" in query["sql"] or "SUM(" in query["sql"]]
    assert [LedgerEntry._meta.db_table in sql for sql in counting] == [True]


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
@pytest.mark.parametrize(
    ("limit", "most"),
    [("waiting", 2), ("per_minute", 2), ("per_day", 2), ("megapixels_per_day", 2), ("stored_megabytes", 4)],
)
def test_a_batch_counts_its_owners_use_once(alice: User, request_: InpaintRequest, limit: str, most: int) -> None:
    UserLimits.objects.create(user=alice, **{limit: most})
    many = [submit.prepare_generation(planner().plan(request_), submit.Submission(alice)) for _ in range(3)]
    for generation in many:
        generation.source.width, generation.source.height = 1000, 1000
        generation.source.byte_count = 1_900_000
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        allowance = Allowance(alice)
        for generation in many[:2]:
            submit.save_and_notify(generation, allowance)
        counting = [query for query in queries if "COUNT(" in query["sql"] or "SUM(" in query["sql"]]
        assert len(counting) == {"waiting": 2}.get(limit, 1)  # generations and analyses wait
        with pytest.raises(LimitReached) as caught:
            submit.save_and_notify(many[2], allowance)
    assert caught.value.actual == {"stored_megabytes": 3}.get(limit, most)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_accepting_does_not_wait_for_locks_on_other_rows_of_the_owner(alice: User, request_: InpaintRequest) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("transactions of SQLite come one after the other")
    UserLimits.objects.create(user=alice, per_day=9)
    with transaction.atomic():
        Batch.objects.create(owner=alice)
        connection.check_constraints()  # as a commit does; the foreign key check locks alice's row (FOR KEY SHARE)

        def elsewhere(_: int) -> object:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
            return submit.submit(request_, submit.Submission(alice))

        assert isinstance(all_at_once(1, elsewhere)[0], Generation)


def test_the_estimate_is_the_time_of_the_most_similar_generations() -> None:
    small, large = GenerationFeatures(100, 10_000, 300), GenerationFeatures(10_000, 1_000_000, 5_000)
    past = RuntimeEstimator([(small, 1.0)] * 9 + [(large, 5.0)] * 9)
    assert past.seconds([small, large]) == [pytest.approx(1.0, rel=0.05), pytest.approx(5.0, rel=0.05)]
    assert RuntimeEstimator([]).seconds([small]) == [None]


def test_the_estimate_depends_on_the_outline_of_the_mask() -> None:
    blob, scratches = GenerationFeatures(10_000, 1_000_000, 900), GenerationFeatures(10_000, 1_000_000, 9_000)
    estimates = RuntimeEstimator([(blob, 4.0), (scratches, 0.25)] * 8).seconds([blob, scratches])
    assert estimates == [pytest.approx(4.0, rel=0.2), pytest.approx(0.25, rel=0.2)]


def test_of_similar_generations_the_newest_count_most() -> None:
    work = GenerationFeatures(10_000, 1_000_000, 900)
    assert RuntimeEstimator([(work, 6.0)] * 10 + [(work, 1.0)] * 100).seconds([work]) == [pytest.approx(6.0, rel=0.01)]


def test_the_remaining_time_is_that_of_a_typical_step_from_the_third_one_on() -> None:
    pace = StepPace()
    times = {1: 46.0, 2: 47.0, 3: 48.0, 4: 58.0, 6: 60.0}  # the model is loaded for 45 s, the fourth step is slow
    left = {}
    for done, now in times.items():
        pace.record(now, done)
        pace.record(now + 0.5, done)  # a sign of life, without a new step
        left[done] = pace.seconds_left(done, 10)
    assert left == {1: None, 2: None, 3: 7.0, 4: 6.0, 6: 4.0}


def test_a_run_without_steps_has_no_pace() -> None:
    pace = StepPace()
    pace.record(1.0, 0)
    pace.record(2.0, 0)
    assert pace.seconds_left(0, 0) is None


@pytest.mark.django_db
def test_a_queued_generation_has_a_position_and_an_estimate(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = generate(alice, run=False), generate(alice, run=False)
    assert queue_position(second) == QueuePosition(2, None)  # no run times to estimate from yet
    monkeypatch.setattr(
        run_time_estimates,
        "estimator_for",
        lambda engine: RuntimeEstimator([(run_time_estimates.generation_workload(first), 4.0)]),
    )
    monkeypatch.setattr(settings, "WORKERS", 1)
    assert queue_position(first) == QueuePosition(1, 4.0)
    assert queue_position(second) == QueuePosition(2, 8.0)
    first.start()
    assert queue_position(first) is None


@pytest.mark.django_db
def test_the_tests_run_on_the_requested_database() -> None:
    requested_postgres = bool(os.environ.get("DREAMLAYER_TEST_POSTGRES"))
    assert (connection.vendor == "postgresql") == requested_postgres
