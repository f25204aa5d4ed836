"""Queue positions: sent as the queue moves, and read from the database once for all sockets."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async as in_database
from django.db import DatabaseError, InterfaceError
from django.test import Client

from accounts.models import User
from inpainting.models import Generation
from inpainting.realtime import queue_positions
from inpainting.realtime.consumers import is_worth_sending
from inpainting.realtime.queue_positions import PositionBroadcaster, broadcaster
from inpainting.worker import run_time_estimates
from inpainting.worker.run_time_estimates import Positions, QueuePosition
from tests.realtime.conftest import Wait
from tests.realtime.sockets import session_socket, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("path", ["/ws/generations/", "/ws/generations/{}/"])
async def test_positions_are_sent_as_the_queue_moves(path: str, alice: User, bob: User, wait: Wait) -> None:
    first, second, mine = [await in_database(wait)(owner) for owner in (bob, bob, alice)]
    last = await in_database(wait)(bob)
    socket = await in_database(session_socket)(alice, path.format(mine.pk))
    await socket.connect()
    assert (await socket.receive_json_from())["position"] == 2  # bob and alice take turns
    await in_database(first.start)()
    assert (await socket.receive_json_from())["position"] == 1  # bob was served last
    await in_database(mine.start)()
    while (message := await socket.receive_json_from())["type"] == "queued":
        pass
    assert message["type"] == "running"
    assert not broadcaster().subscribers  # no generation of this client waits any more
    for response in (second, last):
        await in_database(response.cancel)()
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_the_api_and_a_new_socket_report_the_same_state(alice: User, wait: Wait) -> None:
    other, mine = await in_database(wait)(alice), await in_database(wait)(alice)
    client = await in_database(signed_in)(alice)

    async def both() -> tuple[dict[str, object], dict[str, object]]:
        socket = await in_database(session_socket)(client, f"/ws/generations/{mine.pk}/")
        await socket.connect()
        sent = await socket.receive_json_from()
        await socket.disconnect()
        return sent, (await in_database(client.get)(f"/api/generations/{mine.pk}/")).json()

    sent, answer = await both()
    assert sent == {"type": "queued", "position": answer["position"], "eta": answer["eta"]}
    assert (answer["status"], answer["position"]) == ("queued", 2)
    await in_database(other.cancel)()
    await in_database(mine.start)()
    sent, answer = await both()
    assert (sent, answer["status"], answer["progress"]) == ({"type": "running"}, "running", None)
    await in_database(mine.advance)(1, 4, seconds_left=8.0)
    sent, answer = await both()
    progress = answer["progress"]
    assert isinstance(progress, dict)
    for event in (sent, progress):
        assert event.pop("seconds_left") is not None
    assert sent == progress == {"type": "progress", "step": 1, "of": 4, "percent": 25}
    await in_database(mine.fail)(code="engine_failed", message="no")
    sent, answer = await both()
    assert sent == {"type": answer["status"], **answer["error"]}  # type: ignore[dict-item]


class CountingQueue:
    """Replaces `run_time_estimates.positions` and counts its calls."""

    def __init__(self) -> None:
        self.pk, self.reads = uuid4(), 0

    def __call__(self) -> Positions:
        self.reads += 1
        return Positions({self.pk: QueuePosition(3, None)})


class Recorder:
    def __init__(self) -> None:
        self.received: list[Positions] = []

    async def positions_polled(self, latest: Positions) -> None:
        self.received.append(latest)


async def test_one_query_serves_all_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_positions, "POLL_SECONDS", 5.0)
    queue = CountingQueue()
    monkeypatch.setattr(run_time_estimates, "positions", queue)
    positions = PositionBroadcaster()
    assert (
        await asyncio.gather(*(positions.position_of(queue.pk) for _ in range(100))) == [QueuePosition(3, None)] * 100
    )
    assert await positions.position_of(queue.pk) == QueuePosition(3, None)
    assert queue.reads == 1


async def test_a_generation_that_does_not_wait_costs_no_query_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_positions, "POLL_SECONDS", 5.0)
    queue = CountingQueue()
    monkeypatch.setattr(run_time_estimates, "positions", queue)
    positions = PositionBroadcaster()
    assert [await positions.position_of(uuid4()) for _ in range(100)] == [None] * 100
    assert queue.reads == 1


@pytest.mark.parametrize("wrong", [DatabaseError, InterfaceError])
async def test_the_last_positions_are_kept_while_the_database_fails(
    wrong: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = CountingQueue()
    monkeypatch.setattr(run_time_estimates, "positions", queue)
    positions = PositionBroadcaster()
    await positions.read()

    def fail() -> None:
        raise wrong("gone")

    monkeypatch.setattr(run_time_estimates, "positions", fail)
    await positions.read()
    assert positions.latest.first == {queue.pk: QueuePosition(3, None)}


async def test_the_queue_is_not_read_without_subscribers(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = CountingQueue()
    monkeypatch.setattr(run_time_estimates, "positions", queue)
    positions, recorder = PositionBroadcaster(), Recorder()
    positions.subscribe(recorder)
    while len(recorder.received) < 2:
        await asyncio.sleep(0.01)
    positions.unsubscribe(recorder)
    await asyncio.sleep(0.1)
    reads = queue.reads
    await asyncio.sleep(0.1)
    assert queue.reads == reads


async def test_a_broken_socket_does_not_stop_the_updates_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_time_estimates, "positions", Positions)

    class Broken:
        async def positions_polled(self, latest: Positions) -> None:
            raise RuntimeError("gone")

    positions, recorder = PositionBroadcaster(), Recorder()
    positions.subscribe(Broken())
    positions.subscribe(recorder)
    while len(recorder.received) < 2:
        await asyncio.sleep(0.01)
    positions.unsubscribe(recorder)


def test_behind_the_tenth_position_only_changes_of_a_tenth_are_sent() -> None:
    assert is_worth_sending(None, 700)
    assert is_worth_sending(2, 1)
    assert is_worth_sending(1, 2)
    assert not is_worth_sending(2, 2)
    assert not is_worth_sending(700, 690)
    assert is_worth_sending(700, 630)
    assert is_worth_sending(11, 10)


def test_estimates_divide_the_queue_among_the_workers(
    alice: User, wait: Wait, monkeypatch: pytest.MonkeyPatch, settings: pytest.FixtureRequest
) -> None:
    settings.WORKERS = 2  # type: ignore[attr-defined]
    all_of_them = [wait(alice) for _ in range(4)]
    past = run_time_estimates.RuntimeEstimator([(run_time_estimates.generation_workload(all_of_them[0]), 4.0)])
    monkeypatch.setattr(run_time_estimates, "estimator_for", lambda engine: past)
    assert [run_time_estimates.positions().first[socket.pk].eta for socket in all_of_them] == [4.0, 4.0, 8.0, 8.0]
    all_of_them[0].start()
    found = run_time_estimates.positions().first
    assert [found[socket.pk].position for socket in all_of_them[1:]] == [1, 2, 3]
    assert found[all_of_them[1].pk].eta == 4.0


def test_an_ended_generation_has_no_position(alice: User, waiting: Generation, client: Client) -> None:
    waiting.cancel()
    assert run_time_estimates.queue_position(waiting) is None
    assert run_time_estimates.positions() == Positions()
