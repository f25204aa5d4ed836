"""`/ws/generations/<id>/`: all events are sent to the owner and none to anybody else."""

from __future__ import annotations

import asyncio
import threading
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from accounts.models import User
from dreamlayer_site.asgi import application
from inpainting.models import Generation
from inpainting.realtime import events
from inpainting.realtime.consumers import NOT_FOUND, GenerationConsumer
from inpainting.worker.run import run_waiting
from tests.realtime.sockets import events_until_end, session_socket, signed_in
from tests.support.threads import with_own_connection

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_owner_receives_every_event_until_the_end(alice: User, waiting: Generation) -> None:
    socket = await database_sync_to_async(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    assert (await socket.connect())[0]
    assert await socket.receive_json_from() == {"type": "queued", "position": 1, "eta": None}
    # Like a Celery worker: another thread, without an event loop.
    worker = threading.Thread(target=with_own_connection, args=(run_waiting,))
    worker.start()
    messages = await events_until_end(socket)
    await asyncio.to_thread(worker.join)
    await socket.disconnect()
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "running"
    assert kinds[-1] == "succeeded"
    steps = [message["percent"] for message in messages if message["type"] == "progress"]
    assert steps
    assert steps == sorted(steps)
    assert steps[-1] == 100
    assert all("seconds_left" in message for message in messages if message["type"] == "progress")


async def test_connecting_after_the_end_sends_the_result(alice: User, waiting: Generation) -> None:
    await database_sync_to_async(waiting.start)()
    await database_sync_to_async(waiting.fail)(code="engine_failed", message="no")
    socket = await database_sync_to_async(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    assert await socket.receive_json_from() == {"type": "failed", "code": "engine_failed", "message": "no"}
    await socket.disconnect()


@pytest.mark.parametrize("client", ["another user", "anonymous", "unknown id"])
async def test_other_clients_are_refused(alice: User, bob: User, waiting: Generation, client: str) -> None:
    pk = uuid4() if client == "unknown id" else waiting.pk
    user = {"another user": bob, "anonymous": None, "unknown id": alice}[client]
    socket = await database_sync_to_async(session_socket)(user, f"/ws/generations/{pk}/")
    await socket.connect()
    assert await socket.receive_output() == {"type": "websocket.close", "code": NOT_FOUND}
    await database_sync_to_async(events.publish)(pk, alice.pk, events.succeeded())
    assert await socket.receive_nothing()


@pytest.mark.parametrize(
    "origin", [b"https://elsewhere.example", b"http://localhost:3000", b"null", b"", b"http://[::1", b"http://a:b"]
)
async def test_a_foreign_page_cannot_connect(alice: User, waiting: Generation, origin: bytes) -> None:
    foreign = (b"origin", origin)
    socket = await database_sync_to_async(session_socket)(alice, f"/ws/generations/{waiting.pk}/", origin=foreign)
    assert not (await socket.connect())[0]


async def test_a_disconnected_socket_leaves_its_groups(alice: User, waiting: Generation) -> None:
    socket = await database_sync_to_async(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    await socket.receive_json_from()
    assert events.generation_group(waiting.pk) in get_channel_layer().groups
    await socket.disconnect()
    assert events.generation_group(waiting.pk) not in get_channel_layer().groups


async def test_an_origin_with_an_invalid_port_is_refused(alice: User) -> None:
    """Origin and Host are equal here, so comparing them is not enough."""
    cookie = (await database_sync_to_async(signed_in)(alice)).cookies["sessionid"].value
    headers = [
        (b"host", b"localhost:x"),
        (b"origin", b"http://localhost:x"),
        (b"cookie", f"sessionid={cookie}".encode()),
    ]
    assert not (await WebsocketCommunicator(application, "/ws/generations/", headers=headers).connect())[0]


async def test_a_socket_whose_consumer_raises_leaves_its_groups(
    alice: User, waiting: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await database_sync_to_async(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    await socket.receive_json_from()

    async def breaks(self: GenerationConsumer, message: object) -> None:
        raise RuntimeError("gone")

    monkeypatch.setattr(GenerationConsumer, "generation_event", breaks)
    await database_sync_to_async(events.publish)(waiting.pk, alice.pk, events.running())
    with pytest.raises(RuntimeError):
        await socket.wait(timeout=10)
    assert events.generation_group(waiting.pk) not in get_channel_layer().groups


def test_publishing_without_clients_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "async_to_sync", None)  # which would start a thread with an event loop
    events.publish(uuid4(), 7, events.progress(1, 4))
