"""Waiting for a result in the same call: the end of the generation, or a stopping server, wakes the caller."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from channels.db import database_sync_to_async
from django.db import connection
from django.test import Client

from accounts.models import User
from inpainting.generations import submit
from inpainting.generations.delete import delete_all_of_user
from inpainting.models import Generation, Status
from inpainting.worker import poller, waiters
from inpainting.worker import waiters as waiting
from tests.api.bodies import upload

Generate = Callable[..., Generation]

pytestmark = pytest.mark.django_db(transaction=True)
NEVER_SECONDS = 3600.0
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)


@pytest.fixture
def _never_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", NEVER_SECONDS)


@contextmanager
def waiting_for(generation: Generation) -> Iterator[Callable[[], bool]]:
    """Wait for the generation on another thread; the yielded function returns the result of that call."""
    answers: list[bool] = []

    def until_ended() -> None:
        try:
            answers.append(async_to_sync(waiting.wait_until_ended)(generation.pk))
        finally:
            connection.close()

    caller = threading.Thread(target=until_ended, daemon=True)
    caller.start()
    while caller.is_alive() and generation.pk not in waiters.awaited():
        time.sleep(0.01)

    def answer() -> bool:
        caller.join(PATIENCE_SECONDS)
        assert answers, "still waiting"
        return answers[0]

    yield answer


@pytest.mark.usefixtures("_never_polls")
def test_an_end_in_this_process_wakes_the_caller_without_polling(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    with waiting_for(generation) as answer, waiting_for(generation) as another:
        assert generation.cancel()
        assert (answer(), another()) == (True, True)
    assert not waiters.awaited()


def test_an_end_in_another_process_is_found_by_polling(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    with waiting_for(generation) as answer:
        Generation.objects.filter(pk=generation.pk).update(status=Status.CANCELLED)
        assert answer()


def test_polling_goes_on_after_the_request_that_began_it(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.05)
    generation = generate(alice, run=False)

    async def first_request() -> None:
        async with ThreadSensitiveContext():
            view = async_to_sync(waiting.wait_until_ended)
            assert not await sync_to_async(view)(generation.pk, patience_seconds=0.01)

    async def both_requests() -> bool:
        second = asyncio.ensure_future(waiting.wait_until_ended(generation.pk, patience_seconds=PATIENCE_SECONDS))
        await first_request()
        cancelled = Generation.objects.filter(pk=generation.pk)
        await database_sync_to_async(cancelled.update)(status=Status.CANCELLED)
        return await second

    assert asyncio.run(both_requests())


@pytest.mark.usefixtures("_never_polls")
def test_a_stopping_server_wakes_every_waiting_caller(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    with waiting_for(generation) as answer:
        poller.release_own()
        assert not answer()


def test_waiting_ends_after_the_given_time(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    assert not async_to_sync(waiting.wait_until_ended)(generation.pk, patience_seconds=0.01)
    assert not waiters.awaited()


@pytest.mark.usefixtures("_never_polls")
def test_deleting_everything_of_a_user_wakes_the_waiting_caller(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    with waiting_for(generation) as answer:
        assert delete_all_of_user(alice) == 1
        assert answer()


def test_the_answer_for_a_deleted_generation_is_cancelled(
    alice: User, alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: delete_all_of_user(alice))
    body = {"image": upload(photo_png), "mask": upload(mask_png), "prompt": ""}
    answer = alices_program.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "cancelled")
