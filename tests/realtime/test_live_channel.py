"""`/ws/generations/<id>/`: the owner hears everything, nobody else hears anything."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.test import Client
from numpy.typing import NDArray

from accounts.models import User
from dreamlayer_site.asgi import application
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest
from inpainting.generations.run import run_waiting
from inpainting.models import Generation
from inpainting.realtime import events
from inpainting.realtime.consumers import NOT_FOUND

pytestmark = pytest.mark.django_db(transaction=True)
ORIGIN = (b"origin", b"http://localhost")


def socket_of(user: User | None, path: str, *, origin: tuple[bytes, bytes] = ORIGIN) -> WebsocketCommunicator:
    client = Client()
    if user is not None:
        client.force_login(user)
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", b"localhost"), origin, (b"cookie", cookies.encode())]
    return WebsocketCommunicator(application, path, headers=headers)


@pytest.fixture
def waiting(alice: User, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> Generation:
    generation = Generation.from_request(InpaintRequest(Picture(photo), hole), owner=alice, engine="quick-fill")
    generation.save_new()
    return generation


async def heard(socket: WebsocketCommunicator) -> list[dict[str, Any]]:
    """Every message up to the last."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] not in ("succeeded", "failed", "cancelled"):
        messages.append(await socket.receive_json_from(timeout=10))
    return messages


async def test_the_owner_hears_it_from_waiting_to_done(alice: User, waiting: Generation) -> None:
    socket = await database_sync_to_async(socket_of)(alice, f"/ws/generations/{waiting.pk}/")
    assert (await socket.connect())[0]
    assert await socket.receive_json_from() == {"type": "queued"}
    worker = threading.Thread(target=run_waiting)  # as Celery's: another thread, no loop of its own
    worker.start()
    messages = await heard(socket)
    await asyncio.to_thread(worker.join)
    await socket.disconnect()
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "running"
    assert kinds[-1] == "succeeded"
    steps = [message["percent"] for message in messages if message["type"] == "progress"]
    assert steps
    assert steps == sorted(steps)
    assert steps[-1] == 100


async def test_who_comes_late_hears_how_it_ended(alice: User, waiting: Generation) -> None:
    await database_sync_to_async(waiting.start)()
    await database_sync_to_async(waiting.fail)(code="engine_failed", message="no")
    socket = await database_sync_to_async(socket_of)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    assert await socket.receive_json_from() == {"type": "failed", "code": "engine_failed", "message": "no"}
    await socket.disconnect()


@pytest.mark.parametrize("who", ["bob", "nobody", "nothing there"])
async def test_nobody_else_hears_anything(alice: User, bob: User, waiting: Generation, who: str) -> None:
    pk = uuid4() if who == "nothing there" else waiting.pk
    user = {"bob": bob, "nobody": None, "nothing there": alice}[who]
    socket = await database_sync_to_async(socket_of)(user, f"/ws/generations/{pk}/")
    await socket.connect()
    assert await socket.receive_output() == {"type": "websocket.close", "code": NOT_FOUND}
    await database_sync_to_async(events.publish)(pk, events.succeeded())
    assert await socket.receive_nothing()


@pytest.mark.parametrize("origin", [b"https://elsewhere.example", b"http://localhost:3000", b"null", b""])
async def test_a_foreign_page_cannot_connect(alice: User, waiting: Generation, origin: bytes) -> None:
    foreign = (b"origin", origin)
    socket = await database_sync_to_async(socket_of)(alice, f"/ws/generations/{waiting.pk}/", origin=foreign)
    assert not (await socket.connect())[0]


async def test_a_listener_who_left_is_forgotten(alice: User, waiting: Generation) -> None:
    socket = await database_sync_to_async(socket_of)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    await socket.receive_json_from()
    assert events.group_of(waiting.pk) in get_channel_layer().groups
    await socket.disconnect()
    assert events.group_of(waiting.pk) not in get_channel_layer().groups


def test_a_message_to_nobody_is_no_problem() -> None:
    events.publish(uuid4(), events.progress(1, 4))
