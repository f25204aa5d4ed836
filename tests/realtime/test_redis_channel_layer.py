"""The channel layer over a real Redis: senders on other threads, in order, and never held up by Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync

from dreamlayer_site.service_urls import channel_layer_settings
from inpainting.realtime import events
from inpainting.realtime.redis_channel_layer import RedisChannelLayer
from tests.support.services import Redis, redis_server
from tests.support.tcp_proxy import tcp_proxy


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


def layer(redis: Redis) -> RedisChannelLayer:
    return RedisChannelLayer(**channel_layer_settings(redis.url)["CONFIG"])


async def until_received(web: RedisChannelLayer, channel: str, number: int) -> None:
    """Return once that message is received; others may come before it."""
    while (await web.receive(channel))["number"] != number:
        pass


async def test_messages_of_another_process_arrive_in_order(redis: Redis) -> None:
    web, worker = layer(redis), layer(redis)
    channel = await web.new_channel()
    await web.group_add("generation-1", channel)

    def work() -> None:  # on a thread without an event loop, as a worker's
        for number in range(50):
            async_to_sync(worker.group_send)("generation-1", {"type": "generation.event", "number": number})

    await asyncio.to_thread(work)
    async with asyncio.timeout(20):
        received = [(await web.receive(channel))["number"] for _ in range(50)]
    assert received == [*range(50)]
    await web.flush()


async def test_without_redis_senders_do_not_wait_and_it_is_used_again_when_it_is_back(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    worker = layer(redis)
    redis.stop()
    started = time.monotonic()
    for number in range(5000):
        await worker.group_send("generation-1", {"type": "generation.event", "number": number})
    assert time.monotonic() - started < 5  # measured: 0.03
    async with asyncio.timeout(20):
        while "The channel layer does not answer" not in caplog.text:
            await asyncio.sleep(0.05)
    redis.start()
    web = layer(redis)
    channel = await web.new_channel()
    await web.group_add("generation-1", channel)
    async with asyncio.timeout(20):
        waiting = asyncio.ensure_future(until_received(web, channel, -1))
        while not waiting.done():
            await worker.group_send("generation-1", {"type": "generation.event", "number": -1})
            await asyncio.sleep(0.1)
    await web.flush()


async def test_a_sender_that_dropped_messages_says_so_once_it_reaches_redis_again(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    web = layer(redis)
    channel = await web.new_channel()
    await web.group_add(events.LOSS_GROUP, channel)
    with tcp_proxy(redis.url) as to_redis:
        worker = RedisChannelLayer(**channel_layer_settings(to_redis.url)["CONFIG"])
        to_redis.set("cut")
        await worker.group_send("generation-1", {"type": "generation.event", "number": 1})
        async with asyncio.timeout(20):
            while "Messages are dropped" not in caplog.text:
                await asyncio.sleep(0.05)
            to_redis.set("open")
            lost = await web.receive(channel)  # although the worker sends nothing any more
    assert lost["type"] == "events.lost"
    assert lost["seconds"] > 0
    await web.flush()


async def test_a_receiver_that_was_cut_off_says_so_although_no_sender_noticed(redis: Redis) -> None:
    with tcp_proxy(redis.url) as to_redis:
        web = RedisChannelLayer(**channel_layer_settings(to_redis.url)["CONFIG"])
        channel = await web.new_channel()
        await web.group_add(events.LOSS_GROUP, channel)
        to_redis.set("cut")
        to_redis.set("open")
        async with asyncio.timeout(20):
            assert (await web.receive(channel))["type"] == "events.lost"
        await web.flush()
