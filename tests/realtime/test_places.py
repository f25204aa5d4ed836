"""Places in line, and what is told of them: as the line moves, to who listens, by one look for all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest
from channels.db import database_sync_to_async as in_database
from django.db import DatabaseError, InterfaceError
from django.test import Client

from accounts.models import User
from inpainting.models import Generation
from inpainting.realtime import places
from inpainting.realtime.consumers import is_worth_telling
from inpainting.realtime.places import Lookout, lookout
from inpainting.worker import run_time_estimates
from inpainting.worker.run_time_estimates import Place
from tests.realtime.conftest import Wait
from tests.realtime.sockets import signed_in, socket_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("path", ["/ws/generations/", "/ws/generations/{}/"])
async def test_the_position_moves_as_the_line_moves(path: str, alice: User, bob: User, wait: Wait) -> None:
    first, second, mine = [await in_database(wait)(owner) for owner in (bob, bob, alice)]
    last = await in_database(wait)(bob)
    socket = await in_database(socket_of)(alice, path.format(mine.pk))
    await socket.connect()
    assert (await socket.receive_json_from())["position"] == 2  # bob and alice take turns
    await in_database(first.start)()
    assert (await socket.receive_json_from())["position"] == 1  # bob was served last
    await in_database(mine.start)()
    while (said := await socket.receive_json_from())["type"] == "queued":
        pass
    assert said["type"] == "running"
    assert not lookout().listeners  # nobody here waits any more
    for one in (second, last):
        await in_database(one.cancel)()
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_a_page_that_missed_every_message_is_right_after_one_call(alice: User, wait: Wait) -> None:
    """What the API says at any time is what a listener who comes then hears."""
    other, mine = await in_database(wait)(alice), await in_database(wait)(alice)
    client = await in_database(signed_in)(alice)

    async def both() -> tuple[dict[str, object], dict[str, object]]:
        socket = await in_database(socket_of)(client, f"/ws/generations/{mine.pk}/")
        await socket.connect()
        told = await socket.receive_json_from()
        await socket.disconnect()
        return told, (await in_database(client.get)(f"/api/generations/{mine.pk}/")).json()

    told, asked = await both()
    assert told == {"type": "queued", "position": asked["position"], "eta": asked["eta"]}
    assert (asked["status"], asked["position"]) == ("queued", 2)
    await in_database(other.cancel)()
    await in_database(mine.start)()
    told, asked = await both()
    assert (told, asked["status"], asked["progress"]) == ({"type": "running"}, "running", None)
    await in_database(mine.advance)(1, 4)
    told, asked = await both()
    progress = asked["progress"]
    assert isinstance(progress, dict)
    for one in (told, progress):
        assert one.pop("seconds_left") is not None
    assert told == progress == {"type": "progress", "step": 1, "of": 4, "percent": 25}
    await in_database(mine.fail)(code="engine_failed", message="no")
    told, asked = await both()
    assert told == {"type": asked["status"], **asked["error"]}  # type: ignore[dict-item]


class Line:
    """In the place of `run_time_estimates.places`: counts who looks."""

    def __init__(self) -> None:
        self.pk, self.looks = uuid4(), 0

    def __call__(self) -> dict[UUID, Place]:
        self.looks += 1
        return {self.pk: Place(3, None)}


class Ear:
    def __init__(self) -> None:
        self.heard: list[Mapping[UUID, Place]] = []

    async def hear_places(self, latest: Mapping[UUID, Place]) -> None:
        self.heard.append(latest)


async def test_one_look_serves_all_who_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOOK_EVERY_SECONDS", 5.0)
    line = Line()
    monkeypatch.setattr(run_time_estimates, "places", line)
    one = Lookout()
    assert await asyncio.gather(*(one.place_of(line.pk) for _ in range(100))) == [Place(3, None)] * 100
    assert await one.place_of(line.pk) == Place(3, None)
    assert line.looks == 1


async def test_one_that_is_not_in_the_line_costs_no_look_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOOK_EVERY_SECONDS", 5.0)
    line = Line()
    monkeypatch.setattr(run_time_estimates, "places", line)
    one = Lookout()
    assert [await one.place_of(uuid4()) for _ in range(100)] == [None] * 100
    assert line.looks == 1


@pytest.mark.parametrize("wrong", [DatabaseError, InterfaceError])
async def test_a_database_that_is_away_leaves_the_last_look(
    wrong: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line()
    monkeypatch.setattr(run_time_estimates, "places", line)
    one = Lookout()
    await one.look()

    def away() -> None:
        raise wrong("gone")

    monkeypatch.setattr(run_time_estimates, "places", away)
    await one.look()
    assert one.latest == {line.pk: Place(3, None)}


async def test_nobody_looks_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    monkeypatch.setattr(run_time_estimates, "places", line)
    one, ear = Lookout(), Ear()
    one.join(ear)
    while len(ear.heard) < 2:
        await asyncio.sleep(0.01)
    one.leave(ear)
    await asyncio.sleep(0.1)
    looked = line.looks
    await asyncio.sleep(0.1)
    assert line.looks == looked


async def test_a_socket_that_breaks_does_not_silence_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_time_estimates, "places", dict)

    class Broken:
        async def hear_places(self, latest: Mapping[UUID, Place]) -> None:
            raise RuntimeError("gone")

    one, ear = Lookout(), Ear()
    one.join(Broken())
    one.join(ear)
    while len(ear.heard) < 2:
        await asyncio.sleep(0.01)
    one.leave(ear)


def test_far_back_only_a_tenth_is_worth_a_message() -> None:
    assert is_worth_telling(None, 700)
    assert is_worth_telling(2, 1)
    assert is_worth_telling(1, 2)
    assert not is_worth_telling(2, 2)
    assert not is_worth_telling(700, 690)
    assert is_worth_telling(700, 630)
    assert is_worth_telling(11, 10)


def test_the_line_of_running_and_waiting_is_shared_by_the_workers(
    alice: User, wait: Wait, monkeypatch: pytest.MonkeyPatch, settings: pytest.FixtureRequest
) -> None:
    settings.WORKERS = 2  # type: ignore[attr-defined]
    all_of_them = [wait(alice) for _ in range(4)]
    past = run_time_estimates.Past([(run_time_estimates.work(all_of_them[0]), 4.0)])
    monkeypatch.setattr(run_time_estimates, "past_of", lambda engine: past)
    assert [run_time_estimates.places()[one.pk].eta for one in all_of_them] == [4.0, 4.0, 8.0, 8.0]
    all_of_them[0].start()
    found = run_time_estimates.places()
    assert [found[one.pk].position for one in all_of_them[1:]] == [1, 2, 3]
    assert found[all_of_them[1].pk].eta == 4.0


def test_what_is_over_has_no_place(alice: User, waiting: Generation, client: Client) -> None:
    waiting.cancel()
    assert run_time_estimates.place_in_line(waiting) is None
    assert run_time_estimates.places() == {}
