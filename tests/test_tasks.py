"""Celery task messages are sent again every second, so a message that no worker reads must expire."""

from __future__ import annotations

import pytest

from dreamlayer_site.celery import app
from inpainting import tasks


@pytest.mark.parametrize("task", [tasks.run_waiting, tasks.run_waiting_on_gpu])
def test_an_unread_notification_expires(task: object) -> None:
    assert task.name in app.tasks  # type: ignore[attr-defined]
    assert task.expires == tasks.NOTIFICATION_SECONDS  # type: ignore[attr-defined]
