"""`/ws/generations/`: everything of one's own, each message with its generation's id, and nothing of anybody else's."""

from __future__ import annotations

import asyncio

import pytest
from channels.db import database_sync_to_async as in_database

from accounts.models import User
from inpainting.models import Generation
from inpainting.realtime.consumers import SIGNED_OUT, TOO_MANY, LiveConsumer
from inpainting.worker.run import run_waiting
from tests.realtime.conftest import Wait
from tests.realtime.sockets import closed_with, heard, socket_of
from tests.threads import with_own_connection

pytestmark = pytest.mark.django_db(transaction=True)


async def test_who_connects_hears_of_all_that_waits_or_runs(alice: User, bob: User, wait: Wait) -> None:
    running, ended, first, _, second = [await in_database(wait)(owner) for owner in (alice, alice, alice, bob, alice)]
    await in_database(running.start)()
    await in_database(running.advance)(1, 4)
    await in_database(ended.cancel)()
    socket = await in_database(socket_of)(alice)
    await socket.connect()
    said = [await socket.receive_json_from() for _ in range(3)]
    assert [message["id"] for message in said] == [str(one.pk) for one in (running, first, second)]
    assert (said[0]["type"], said[0]["percent"]) == ("progress", 25)
    # bob was never served, so his one is first, and alice's two follow
    assert [(message["type"], message["position"]) for message in said[1:]] == [("queued", 2), ("queued", 3)]
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_it_hears_what_comes_later_of_its_own_and_nothing_of_others(alice: User, bob: User, wait: Wait) -> None:
    socket = await in_database(socket_of)(alice)
    await socket.connect()
    theirs, mine = await in_database(wait)(bob), await in_database(wait)(alice)
    await asyncio.to_thread(with_own_connection, run_waiting)
    said = await heard(socket)
    assert {message["id"] for message in said} == {str(mine.pk)}
    assert [said[0]["type"], said[-1]["type"]] == ["queued", "succeeded"]
    await in_database(theirs.refresh_from_db)()
    assert theirs.has_ended
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_nobody_is_told_to_sign_in(db: None) -> None:
    socket = await in_database(socket_of)(None)
    await socket.connect()
    assert await closed_with(socket) == SIGNED_OUT


async def test_a_user_has_so_many_sockets_and_no_more(
    alice: User, bob: User, waiting: Generation, settings: pytest.FixtureRequest
) -> None:
    settings.LIVE_SOCKETS_PER_USER = 2  # type: ignore[attr-defined]
    path = f"/ws/generations/{waiting.pk}/"
    sockets = [await in_database(socket_of)(alice, one) for one in ("/ws/generations/", path, path)]
    for socket in sockets:
        await socket.connect()
    assert await closed_with(sockets[2]) == TOO_MANY
    await sockets[2].disconnect()
    others = await in_database(socket_of)(bob)
    await others.connect()
    assert await others.receive_nothing()
    await sockets[0].disconnect()
    again = await in_database(socket_of)(alice, path)
    await again.connect()
    assert (await again.receive_json_from())["type"] == "queued"
    for socket in (sockets[1], others, again):
        await socket.disconnect()
    assert not LiveConsumer.open_sockets
