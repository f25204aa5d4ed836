"""Workers beside others start what waits on threads of their own, without the broker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from accounts.models import User
from inpainting import tasks
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status
from inpainting.worker import own_threads, poller
from inpainting.worker.run import run_while_idle

Generate = Callable[..., Generation]


def test_as_many_threads_as_allowed_run() -> None:
    release, running = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        running.release()
        assert release.wait(20)

    for _ in range(3):
        own_threads.start("some", work, at_most=2)
    assert running.acquire(timeout=20)
    assert running.acquire(timeout=20)
    assert not running.acquire(timeout=0.1)
    release.set()
    while own_threads._running["some"]:
        pass
    own_threads.start("some", work, at_most=2)
    assert running.acquire(timeout=20)


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_the_poller_starts_what_waits_in_the_queues_of_its_process(
    alice: User, generate: Generate, settings: Any
) -> None:
    generation = generate(alice, run=False)
    settings.QUEUES = ["gpu", "hooks"]
    poller.poll()
    generation.refresh_from_db()
    assert generation.status == Status.QUEUED  # this process does not work on its queue
    settings.QUEUES = ["cpu"]
    poller.poll()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


def test_messages_and_the_poller_together_start_no_more_than_there_are_workers(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS = 1
    claims = []

    def start_next(queue: Queue) -> None:
        claims.append(queue)
        tasks.run_waiting("cpu")  # as another thread would at this time

    monkeypatch.setattr("inpainting.worker.run.start_next", start_next)
    run_while_idle(Queue.CPU)
    assert claims == [Queue.CPU]
    tasks.run_waiting("cpu")  # the first one has ended
    assert claims == [Queue.CPU] * 2


def test_it_waits_until_all_work_has_ended() -> None:
    assert own_threads.wait_until_idle(seconds=0)
    end = threading.Event()
    own_threads.start("some", partial(end.wait, 20), at_most=1)
    assert not own_threads.wait_until_idle(seconds=0.01)
    end.set()
    assert own_threads.wait_until_idle(seconds=20)
