"""What Celery is asked to do is asked again every second, so a bell that nobody hears must not wait for ever."""

from __future__ import annotations

import pytest

from dreamlayer_site.celery import app
from inpainting import tasks


@pytest.mark.parametrize("bell", [tasks.run_waiting, tasks.run_waiting_on_gpu, tasks.deliver_webhooks])
def test_a_bell_that_nobody_hears_is_dropped(bell: object) -> None:
    assert bell.name in app.tasks  # type: ignore[attr-defined]
    assert bell.expires == tasks.NOTIFICATION_SECONDS  # type: ignore[attr-defined]
