"""Requests run on few threads, which stay, and change between them and the event loop a few times at most."""

from __future__ import annotations

import asyncio
from threading import Barrier, get_ident

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.test import AsyncClient

from dreamlayer_site.server.request_threads import KEPT_IDLE, RequestThreads


async def test_requests_one_after_another_run_on_one_thread() -> None:
    threads, used = RequestThreads(), set()
    for _ in range(3):
        with threads.use_thread():
            used.add(await sync_to_async(get_ident)())
    assert len(used) == 1


async def test_requests_at_once_run_on_a_thread_each_of_which_some_stay() -> None:
    threads, number = RequestThreads(), KEPT_IDLE + 4
    barrier = Barrier(number)

    def thread() -> int:
        barrier.wait(30)
        return get_ident()

    async def request() -> int:
        with threads.use_thread():
            return await sync_to_async(thread)()

    used = await asyncio.gather(*(request() for _ in range(number)))
    assert len(set(used)) == number
    with threads.use_thread():
        assert await sync_to_async(get_ident)() in used


@pytest.mark.django_db(transaction=True)
async def test_the_middleware_passes_a_request_to_its_thread_and_back_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    call = SyncToAsync.__call__

    async def counted(self: SyncToAsync, *args: object, **options: object) -> object:
        calls.append(self.func)
        return await call(self, *args, **options)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    assert (await AsyncClient().get("/api/engines/")).status_code == 401
    assert len(calls) <= 8, calls
