"""A process that has nothing to do asks the database little, and asks more often where no message may reach it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from dreamlayer_site.management.commands import serve
from inpainting.database.row_counts import count_each
from inpainting.generations.retention import SWEEP, due_sweep, sweep_if_due
from inpainting.generations.undoable_delete import hidden_too_long, purge_if_due
from inpainting.models import Generation, PeriodicJob, WebhookDelivery
from inpainting.worker import poller, watchdog
from inpainting.worker.fleet import membership
from inpainting.worker.poller import Waiting

Generate = Callable[..., Generation]


class StopPolling(BaseException):
    """Ends the poller."""


def test_an_idle_poll_is_one_query(db: None, settings: Any) -> None:
    settings.QUEUES = ["cpu", "gpu", "hooks"]
    assert PeriodicJob.claim(SWEEP, seconds=60)
    others = [Waiting(hidden_too_long()[:1], purge_if_due), Waiting(due_sweep(), sweep_if_due)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert not poller.poll(*others)
    assert len(queries) == 1


def test_the_rows_of_several_tables_are_counted_at_once(alice: User, generate: Generate) -> None:
    for _ in range(3):
        generate(alice, run=False)
    queued = Generation.startable().order_by("created_at")
    with CaptureQueriesContext(connection) as queries:
        counts = count_each([queued[:2], WebhookDelivery.due()[:1], queued, queued.filter(created_at__gt=Now())])
    assert (counts, len(queries)) == ([2, 0, 3, 0], 1)


@pytest.mark.parametrize(("woken", "finds", "polls"), [(True, False, 4), (False, False, 20), (True, True, 20)])
def test_how_often_a_process_polls_in_20_seconds(
    monkeypatch: pytest.MonkeyPatch, settings: Any, woken: bool, finds: bool, polls: int
) -> None:
    clock, counted = [0.0], []

    def second() -> None:
        clock[0] += 1
        if clock[0] > 20:
            raise StopPolling

    def poll(*others: poller.Waiting) -> bool:
        counted.append(clock[0])
        return finds

    monkeypatch.setattr(poller, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(poller, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(poller, "poll", poll)
    monkeypatch.setattr(poller, "close_old_connections", lambda: None)
    monkeypatch.setattr(membership, "beat_if_due", lambda: None)
    monkeypatch.setattr(watchdog, "end_if_hung", second)
    with pytest.raises(StopPolling):
        poller.poll_forever(is_woken=lambda: woken)
    assert len(counted) == polls


def test_messages_reach_a_process_while_all_its_workers_are_connected(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.IS_ALONE = False
    workers = {name: SimpleNamespace(consumer=SimpleNamespace(connection=object())) for name in ("cpu", "hooks")}
    monkeypatch.setattr(serve, "_workers", workers)
    assert serve.is_woken()
    workers["hooks"].consumer.connection = None
    assert not serve.is_woken()
    settings.IS_ALONE = True
    workers["hooks"].consumer.connection = object()
    assert not serve.is_woken(), "a full queue gets no message there"
