"""Celery task messages are sent again every second, so a message that no worker reads must expire."""

from __future__ import annotations

from collections import defaultdict, deque

import pytest
from celery import Task

from dreamlayer_site.celery import app
from inpainting import tasks


@pytest.mark.parametrize("task", [tasks.run_waiting, tasks.run_waiting_on_gpu])
def test_an_unread_notification_expires(task: object) -> None:
    assert task.name in app.tasks  # type: ignore[attr-defined]
    assert task.expires == tasks.NOTIFICATION_SECONDS  # type: ignore[attr-defined]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose messages were sent; none of them was sent before."""
    names: list[str] = []
    monkeypatch.setattr(Task, "apply_async", lambda task, *args, **options: names.append(task.name))
    monkeypatch.setattr(tasks, "_unread", defaultdict(deque))
    return names


def test_no_more_messages_are_sent_to_the_embedded_broker_while_enough_are_unread(
    sent: list[str], settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IS_ALONE = True  # type: ignore[attr-defined]
    for _ in range(2 * tasks.UNREAD_MESSAGES):
        tasks.run_waiting.delay()
    assert len(sent) == tasks.UNREAD_MESSAGES
    tasks.run_waiting_on_gpu.delay()
    assert sent.pop() == "run_waiting_on_gpu"
    tasks.run_waiting.before_start("id", (), {})
    tasks.run_waiting.delay()
    assert len(sent) == tasks.UNREAD_MESSAGES + 1
    monkeypatch.setattr(tasks, "NOTIFICATION_SECONDS", -1)  # all have expired
    tasks.run_waiting.delay()
    assert len(sent) == tasks.UNREAD_MESSAGES + 2


def test_every_message_is_sent_to_the_workers_of_other_processes(sent: list[str], settings: object) -> None:
    settings.IS_ALONE = False  # type: ignore[attr-defined]
    for _ in range(2 * tasks.UNREAD_MESSAGES):
        tasks.run_waiting.delay()
    assert len(sent) == 2 * tasks.UNREAD_MESSAGES
