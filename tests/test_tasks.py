"""Messages wake workers: none is sent where it would start nothing, and what no worker reads expires."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Task
from kombu.exceptions import OperationalError

from accounts.models import User
from dreamlayer_site.celery import app
from inpainting import tasks, webhooks
from inpainting.engines.base import Queue
from inpainting.models import WebhookDelivery
from inpainting.worker import own_threads
from inpainting.worker.queue.fair_queue import worker_count


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """The arguments of the messages that were sent, and the queues of the broker that they went to."""
    messages: list[tuple[list[str], str]] = []
    monkeypatch.setattr(Task, "apply_async", lambda task, arguments, queue: messages.append((arguments, queue)))
    monkeypatch.setattr(tasks, "_paused_until", 0.0)
    return messages


def test_an_unread_notification_expires() -> None:
    assert tasks.run_waiting.name in app.tasks
    assert tasks.run_waiting.expires == tasks.NOTIFICATION_SECONDS


@pytest.mark.parametrize("queue", list(Queue))
def test_a_message_goes_to_the_workers_of_its_queue(
    sent: list[tuple[list[str], str]], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.notify_workers(queue)
    assert sent == [([queue], queue)]
    runs: list[Queue] = []
    monkeypatch.setattr(tasks, "run_while_idle", runs.append)
    tasks.run_waiting(*sent[0][0])
    assert runs == [queue]


def test_the_embedded_broker_gets_no_message_while_all_workers_are_at_work(
    sent: list[tuple[list[str], str]], settings: Any
) -> None:
    settings.IS_ALONE = True
    counts: list[int] = []

    def count_messages(running: int) -> None:
        tasks.notify_workers(Queue.CPU)
        counts.append(len(sent))
        if running < worker_count(Queue.CPU):
            own_threads.run(Queue.CPU, partial(count_messages, running + 1), at_most=worker_count(Queue.CPU))

    count_messages(0)
    workers = worker_count(Queue.CPU)
    assert counts == [*range(1, workers + 1), workers]
    tasks.notify_workers(Queue.CPU)
    assert len(sent) == workers + 1  # they have ended


def test_the_embedded_broker_gets_no_message_that_nobody_reads(
    sent: list[tuple[list[str], str]], settings: Any
) -> None:
    settings.IS_ALONE, settings.QUEUES = True, ["hooks"]
    tasks.notify_workers(Queue.ANALYSIS)
    assert sent == []


def test_every_message_is_sent_to_the_workers_of_other_processes(
    sent: list[tuple[list[str], str]], settings: Any
) -> None:
    settings.IS_ALONE, settings.QUEUES, settings.WORKERS = False, [], 1
    for _ in range(3):
        own_threads.run(Queue.CPU, lambda: tasks.notify_workers(Queue.CPU), at_most=1)
    assert len(sent) == 3


def test_a_webhook_that_is_stored_sends_a_message(
    sent: list[tuple[list[str], str]],
    alice: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    settings.IS_ALONE = False
    with django_capture_on_commit_callbacks() as callbacks:
        WebhookDelivery.create_test(alice, "https://alice.example/")
    assert sent == [], "not before it is committed"
    for callback in callbacks:
        callback()
    assert sent == [([], "hooks")]
    looks: list[str] = []
    monkeypatch.setattr(webhooks, "deliver_due", lambda: looks.append("deliver_due"))
    tasks.deliver_webhooks()
    assert looks == ["deliver_due"]


def test_a_process_that_is_alone_sends_no_message_of_webhooks(
    sent: list[tuple[list[str], str]], alice: User, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.IS_ALONE = True
    with django_capture_on_commit_callbacks(execute=True):
        WebhookDelivery.create_test(alice, "https://alice.example/")
    assert sent == []


def test_after_a_failure_no_message_is_sent_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, attempts = [100.0], []

    def fail(self: Task, *arguments: Any, **options: Any) -> None:
        attempts.append(clock[0])
        raise OperationalError

    monkeypatch.setattr(Task, "apply_async", fail)
    monkeypatch.setattr(tasks, "_paused_until", 0.0)
    monkeypatch.setattr("inpainting.tasks.time", SimpleNamespace(monotonic=lambda: clock[0]))
    tasks.notify_workers(Queue.CPU)
    tasks.notify_workers(Queue.CPU)
    tasks.notify_workers(Queue.GPU)
    clock[0] += tasks.PAUSE_SECONDS
    tasks.notify_workers(Queue.CPU)
    assert attempts == [100.0, 105.0]
