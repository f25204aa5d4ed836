"""Websockets read the states again after messages of the channel layer were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any

import pytest
from channels.db import database_sync_to_async as in_database
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.db import OperationalError
from django.utils import timezone

from accounts.models import User
from inpainting.models import Generation, Status
from inpainting.realtime import consumers, events
from inpainting.realtime.consumers import OwnGenerationsConsumer
from tests.realtime.conftest import Wait
from tests.realtime.sockets import session_socket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "ASK_SECONDS", 0.05)


async def connected(user: User, path: str = "/ws/generations/") -> WebsocketCommunicator:
    socket = await in_database(session_socket)(user, path)
    await socket.connect()
    return socket


async def end_unheard(*generations: Generation) -> None:
    """Let them end, without an event."""
    ended = Generation.objects.filter(pk__in=[generation.pk for generation in generations])
    await ended.aupdate(status=Status.SUCCEEDED, finished_at=timezone.now())


async def say_that_messages_were_lost(*, seconds: float = 0) -> None:
    await get_channel_layer().group_send(events.LOSS_GROUP, events.lost(seconds=seconds))


async def messages_of(socket: WebsocketCommunicator) -> list[dict[str, Any]]:
    messages = [await socket.receive_json_from(timeout=10)]
    while not await socket.receive_nothing(timeout=0.5):
        messages.append(await socket.receive_json_from())
    return messages


async def test_the_ends_that_were_missed_are_sent_once(
    alice: User, bob: User, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "ASK_SECONDS", 2)  # at least a fifth of a second, in which all senders are heard
    ended, waits, theirs = [await in_database(wait)(owner) for owner in (alice, alice, bob)]
    socket = await connected(alice)
    assert {message["type"] for message in await messages_of(socket)} == {"queued"}
    await end_unheard(ended, theirs)
    for _ in range(5):  # each sender says so
        await say_that_messages_were_lost()
    await asyncio.sleep(2)
    heard = await messages_of(socket)
    assert [message["id"] for message in heard if message["type"] == "succeeded"] == [str(ended.pk)]
    assert {message["id"] for message in heard} == {str(ended.pk), str(waits.pk)}
    await socket.disconnect()


async def test_what_was_accepted_and_ended_meanwhile_is_sent(alice: User, wait: Wait) -> None:
    old, new = [await in_database(wait)(alice) for _ in range(2)]
    await end_unheard(old, new)
    await Generation.objects.filter(pk=old.pk).aupdate(created_at=timezone.now() - 3 * consumers.MARGIN)
    socket = await connected(alice)
    assert await socket.receive_nothing()
    await say_that_messages_were_lost()
    assert [message["id"] for message in await messages_of(socket)] == [str(new.pk)]
    await say_that_messages_were_lost(seconds=180)
    assert {message["id"] for message in await messages_of(socket)} == {str(new.pk), str(old.pk)}
    await socket.disconnect()


async def test_the_socket_of_one_generation_hears_its_end(alice: User, wait: Wait) -> None:
    mine, another = [await in_database(wait)(alice) for _ in range(2)]
    socket = await connected(alice, f"/ws/generations/{mine.pk}/")
    await messages_of(socket)
    await end_unheard(mine, another)
    await say_that_messages_were_lost()
    assert await messages_of(socket) == [{"type": "succeeded"}]
    await socket.disconnect()


async def test_an_event_that_comes_meanwhile_is_not_followed_by_an_older_state(
    alice: User, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = [await in_database(wait)(alice) for _ in range(2)]
    socket = await connected(alice)
    await messages_of(socket)
    send = OwnGenerationsConsumer.send_current_event

    async def cancelling_the_other(consumer: OwnGenerationsConsumer, generation: Generation) -> None:
        (other,) = (one for one in generations if one.pk != generation.pk)
        await in_database(other.cancel)()
        await asyncio.sleep(0.3)  # until the event is sent
        await send(consumer, generation)

    monkeypatch.setattr(OwnGenerationsConsumer, "send_current_event", cancelling_the_other)
    await say_that_messages_were_lost()
    messages = await messages_of(socket)
    (cancelled,) = (message["id"] for message in messages if message["type"] == "cancelled")
    assert [message["type"] for message in messages if message["id"] == cancelled] == ["cancelled"]
    await socket.disconnect()


async def test_it_waits_for_the_database(alice: User, wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = await in_database(wait)(alice)
    socket = await connected(alice)
    await messages_of(socket)
    await end_unheard(generation)
    changed, refusals = OwnGenerationsConsumer.changed_generations, [OperationalError("away"), None]

    def away_once(consumer: OwnGenerationsConsumer, since: datetime, unfinished: Collection[Any]) -> list[Generation]:
        if error := refusals.pop(0):
            raise error
        return changed(consumer, since, unfinished)

    monkeypatch.setattr(OwnGenerationsConsumer, "changed_generations", away_once)
    await say_that_messages_were_lost()
    assert [message["type"] for message in await messages_of(socket)] == ["succeeded"]
    await socket.disconnect()
