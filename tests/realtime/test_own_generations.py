"""`/ws/generations/`: all events of the user's own generations, each with the generation's id, and no others."""

from __future__ import annotations

import asyncio

import pytest
from channels.db import database_sync_to_async as in_database

from accounts.models import User
from inpainting.models import Generation
from inpainting.realtime.consumers import SIGNED_OUT, TOO_MANY, GenerationEventsConsumer
from inpainting.worker.run import run_waiting
from tests.realtime.conftest import Wait
from tests.realtime.sockets import close_code, events_until_end, session_socket
from tests.support.threads import with_own_connection

pytestmark = pytest.mark.django_db(transaction=True)


async def test_on_connecting_the_current_states_are_sent(alice: User, bob: User, wait: Wait) -> None:
    running, ended, first, _, second = [await in_database(wait)(owner) for owner in (alice, alice, alice, bob, alice)]
    await in_database(running.start)()
    await in_database(running.advance)(1, 4)
    await in_database(ended.cancel)()
    socket = await in_database(session_socket)(alice)
    await socket.connect()
    messages = [await socket.receive_json_from() for _ in range(3)]
    assert [message["id"] for message in messages] == [str(generation.pk) for generation in (running, first, second)]
    assert (messages[0]["type"], messages[0]["percent"]) == ("progress", 25)
    # Bob's generation is first, because no generation of his has started yet; Alice's two follow.
    assert [(message["type"], message["position"]) for message in messages[1:]] == [("queued", 2), ("queued", 3)]
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_events_of_later_generations_are_sent_but_none_of_other_users(alice: User, bob: User, wait: Wait) -> None:
    socket = await in_database(session_socket)(alice)
    await socket.connect()
    theirs, mine = await in_database(wait)(bob), await in_database(wait)(alice)
    await asyncio.to_thread(with_own_connection, run_waiting)
    messages = await events_until_end(socket)
    assert {message["id"] for message in messages} == {str(mine.pk)}
    assert [messages[0]["type"], messages[-1]["type"]] == ["queued", "succeeded"]
    await in_database(theirs.refresh_from_db)()
    assert theirs.has_ended
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_an_anonymous_client_is_refused(db: None) -> None:
    socket = await in_database(session_socket)(None)
    await socket.connect()
    assert await close_code(socket) == SIGNED_OUT


async def test_the_number_of_sockets_per_user_is_limited(
    alice: User, bob: User, waiting: Generation, settings: pytest.FixtureRequest
) -> None:
    settings.LIVE_SOCKETS_PER_USER = 2  # type: ignore[attr-defined]
    path = f"/ws/generations/{waiting.pk}/"
    sockets = [await in_database(session_socket)(alice, address) for address in ("/ws/generations/", path, path)]
    for socket in sockets:
        await socket.connect()
    assert await close_code(sockets[2]) == TOO_MANY
    await sockets[2].disconnect()
    others = await in_database(session_socket)(bob)
    await others.connect()
    assert await others.receive_nothing()
    await sockets[0].disconnect()
    again = await in_database(session_socket)(alice, path)
    await again.connect()
    assert (await again.receive_json_from())["type"] == "queued"
    for socket in (sockets[1], others, again):
        await socket.disconnect()
    assert not GenerationEventsConsumer.open_sockets
