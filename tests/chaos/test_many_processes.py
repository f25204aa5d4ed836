"""Two web processes and three workers on PostgreSQL, Redis and a bucket, all of which are killed in turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import cycle, islice

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.chaos.cluster import (
    BUCKET_SECONDS,
    GENERATIONS,
    KILLS,
    SIZE,
    SOCKETS,
    Cluster,
    Program,
    check_ends,
    cluster_in,
    submitting,
)

pytestmark = pytest.mark.chaos

WAITING = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its leases outlast the pauses of processes that share a busy machine with those that start again."""
    environment = {"DREAMLAYER_WORKERS": "2", "DREAMLAYER_LEASE_SECONDS": "15"}
    with cluster_in(tmp_path_factory.mktemp("cluster"), **environment) as built, built.serving() as serving:
        yield serving


def test_every_accepted_generation_ends_once_whatever_is_killed(
    cluster: Cluster, photo_png: bytes, mask_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of the workers have clocks that are an hour wrong."""
    program = Program(cluster, photo_png, mask_png)
    between, before = GENERATIONS / (KILLS + 1), cluster.ended()
    with submitting(cluster, GENERATIONS, program, at_once=WAITING) as answers:
        for number, kill in enumerate(islice(cycle(cluster.kills()), KILLS), 1):
            cluster.wait_until_ended(before + round(number * between))
            kill()
    cluster.wait_until_ended(before + GENERATIONS)
    ends = check_ends(cluster, answers, GENERATIONS)
    assert cluster.site.rows("SELECT count(*) FROM inpainting_generation") == [(before + GENERATIONS,)]
    repeated = {key: program.submit(key) for key in answers}
    assert repeated == answers
    with capsys.disabled():
        print(f"\n{GENERATIONS} accepted, {KILLS} kills: {dict(ends)}; calls repeated: {dict(program.problems)}")


def test_a_bucket_that_answers_503_for_a_minute_loses_nothing_and_counts_no_attempt(
    cluster: Cluster, photo_png: bytes, mask_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """While generations are accepted and painted."""
    program, many = Program(cluster, photo_png, mask_png), max(12, round(SIZE * 72))
    before = cluster.ended()
    with submitting(cluster, many, program, at_once=WAITING) as answers:
        cluster.wait_until_ended(before + many // 3)
        cluster.fail_bucket(BUCKET_SECONDS)
    cluster.wait_until_ended(before + many)
    ends = check_ends(cluster, answers, many)
    attempts = "SELECT max(attempts) FROM inpainting_generation WHERE id = ANY(%s::uuid[])"
    assert cluster.site.rows(attempts, [*answers.values()]) == [(1,)]
    with capsys.disabled():
        print(
            f"\n{BUCKET_SECONDS} s without a bucket, {many} accepted: {dict(ends)}; repeated {dict(program.problems)}"
        )


async def test_websockets_of_two_web_processes_hear_their_own_generations_only(
    cluster: Cluster, photo_png: bytes, mask_png: bytes
) -> None:
    users, manage = 4, cluster.site.web.manage
    keys = [manage("create_api_key", f"user{number}@example.com", "--create-user").strip() for number in range(users)]
    owner_of: dict[str, int] = {}
    heard: list[set[str]] = [set() for _ in range(SOCKETS)]

    def ticket(number: int) -> str:
        web = cluster.webs[number // users % 2]
        return str(json.loads(web.get("/api/tickets/", key=keys[number % users], data=b"")[1])["url"])

    async def listen(number: int, socket: ClientConnection) -> None:
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "succeeded":
                heard[number].add(event["id"])

    sockets = [
        await connect(await asyncio.to_thread(ticket, number), open_timeout=60, ping_interval=None)
        for number in range(SOCKETS)
    ]
    tasks = [asyncio.create_task(listen(number, socket)) for number, socket in enumerate(sockets)]
    for number, key in enumerate(keys):
        status, body = await asyncio.to_thread(cluster.webs[number % 2].img2img, key, photo_png, mask_png)
        assert status == 200
        owner_of[str(body["id"])] = number
    expected = [{pk for pk, owner in owner_of.items() if owner == number % users} for number in range(SOCKETS)]
    async with asyncio.timeout(120):
        while heard != expected:
            await asyncio.sleep(0.2)
            assert all(own <= wanted for own, wanted in zip(heard, expected, strict=True)), "a stranger's event"
    for task in tasks:
        task.cancel()
    for socket in sockets:
        await socket.close()
