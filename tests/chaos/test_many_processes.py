"""Two web processes and three workers on PostgreSQL, Redis and a bucket, all of which are killed in turn.

CHAOS_SIZE is the share of the whole sizes, 1,000 generations, 100 kills and 1,000 websockets; .ci/full runs all of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests import postgres
from tests.installation import Installation
from tests.scaled_site import Site
from tests.service_clients import base64_of
from tests.services import S3, Redis, redis_server, s3_server

pytestmark = pytest.mark.chaos

SIZE = float(os.environ.get("CHAOS_SIZE", "1"))
GENERATIONS, KILLS, SOCKETS, RUNNING = (max(8, round(SIZE * number)) for number in (1000, 100, 1000, 200))
CLIENTS, WAITING = 8, 24
CANCELLED_EVERY = 20
RETRY_SECONDS = 0.3
GIVE_UP_SECONDS = 600


class Cluster:
    """The servers and processes."""

    def __init__(self, folder: Path, redis: Redis, s3: S3) -> None:
        self.redis, self.s3, self.database = redis, s3, postgres.Server()
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DREAMLAYER_WORKERS": "2",
            "DREAMLAYER_LIVE_SOCKETS_PER_USER": "200",
        }
        urls = {"redis_url": redis.url, "s3_url": s3.url, "database_url": self.database.url}
        self.site = Site(folder, **urls, environment=environment)
        self.webs = [self.site.web, self.site.process("web")]
        self.workers = [
            self.site.process("worker", "--queues", "cpu,hooks", CHAOS_CLOCK_SECONDS=str(seconds))
            for seconds in (0, 3600, -3600)
        ]

    def kill_redis(self) -> None:
        self.redis.stop()
        time.sleep(1)
        self.redis.start()

    def kill_database(self) -> None:
        self.database.kill()
        time.sleep(1)
        self.database.start()

    def fail_bucket(self) -> None:
        self.s3.fault = (503, "SlowDown")
        time.sleep(3)
        self.s3.fault = None

    def kills(self) -> list[Callable[[], None]]:
        """A kill -9 of each role and server."""
        processes = [self.webs[0], self.workers[0], self.webs[1], self.workers[1], self.workers[2]]
        kill: list[Callable[[], None]] = [lambda process=process: kill_all_of(process) for process in processes]  # type: ignore[misc]
        return [*kill[:2], self.kill_redis, *kill[2:4], self.kill_database, kill[4], self.fail_bucket]

    def count(self, *statuses: str) -> int:
        query = "SELECT count(*) FROM inpainting_generation WHERE status = ANY(%s)"
        return int(self.site.rows(query, list(statuses))[0][0])

    def wait_until_ended(self, how_many: int) -> None:
        Installation.wait_until(
            lambda: self.count("succeeded", "failed", "cancelled") >= how_many, seconds=GIVE_UP_SECONDS
        )


def kill_all_of(process: Installation) -> None:
    """Kill the parent and its child, and start both again."""
    assert process.process is not None
    for child in process.children_of(process.process.pid):
        os.kill(child, signal.SIGKILL)
    process.process.kill()
    process.process.wait()
    process.start()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with redis_server() as redis, s3_server() as s3:
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), redis, s3)
        with cluster.site.serving(*cluster.webs[1:], *cluster.workers):
            yield cluster


class Program:
    """A client that repeats what was not answered, with the same Idempotency-Key, at the next web process."""

    def __init__(self, cluster: Cluster, photo_png: bytes, mask_png: bytes) -> None:
        self.sites = cycle([web.url for web in cluster.webs])
        self.key = cluster.site.key
        pictures = {"input_image": base64_of(photo_png), "mask": base64_of(mask_png), "prompt": "a lawn"}
        self.body = json.dumps(pictures).encode()
        self.problems: Counter[int] = Counter()

    def call(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Return status and body of the first answer that is not to be repeated: 503, or none at all."""
        sent = {"X-API-Key": self.key, "Content-Type": "application/json", **headers}
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                request = Request(next(self.sites) + path, data=body, headers=sent, method=method)
                with urlopen(request, timeout=60) as answer:
                    return answer.status, json.loads(answer.read() or b"null")
            except HTTPError as error:
                if error.code != 503 or "Retry-After" not in error.headers:
                    return error.code, json.loads(error.read())
                self.problems[503] += 1
            except (OSError, ValueError):  # refused, reset or cut off
                self.problems[0] += 1
            assert time.monotonic() < deadline, f"{path} was not answered"
            time.sleep(RETRY_SECONDS)

    def submit(self, idempotency_key: str) -> str:
        headers = {"Idempotency-Key": idempotency_key, "Prefer": "respond-async"}
        status, answer = self.call("/api/img2img", method="POST", body=self.body, **headers)
        assert status in (200, 202), answer
        return str(answer["id"])


@contextmanager
def submitting(cluster: Cluster, how_many: int, program: Program, *, at_once: int) -> Iterator[dict[str, str]]:
    """Accept that many generations while the block runs: Idempotency-Key -> id. Some are cancelled.

    at_once: of them wait or run, at most.
    """
    answers: dict[str, str] = {}
    keys = iter([uuid4().hex for _ in range(how_many)])
    lock = threading.Lock()

    def submit_all() -> None:
        while True:
            with lock:
                key = next(keys, None)
            if key is None:
                return
            while len(answers) - ended[0] > at_once:
                time.sleep(0.05)
            answers[key] = program.submit(key)
            if len(answers) % CANCELLED_EVERY == 0:
                assert program.call(f"/api/generations/{answers[key]}/cancel/", method="POST")[0] in (200, 202, 409)

    ended, before = [0], cluster.count("succeeded", "failed", "cancelled")
    done = threading.Event()

    def count_ended() -> None:
        while not done.wait(0.3):
            try:
                ended[0] = cluster.count("succeeded", "failed", "cancelled") - before
            except Exception:  # noqa: S112 - PostgreSQL is being killed
                continue

    counter = threading.Thread(target=count_ended)
    counter.start()
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(submit_all) for _ in range(CLIENTS)]
            yield answers
            for client in clients:
                client.result()
    finally:
        done.set()
        counter.join()


def check_ends(cluster: Cluster, answers: dict[str, str], how_many: int) -> Counter[str]:
    """Each accepted generation has ended once, with one result and its file in the bucket."""
    rows = dict(cluster.site.rows("SELECT id::text, status FROM inpainting_generation"))
    assert len(answers) == len(set(answers.values())) == how_many
    assert set(answers.values()) <= set(rows), "an accepted generation is lost"
    own = Counter(rows[pk] for pk in answers.values())
    assert set(own) <= {"succeeded", "cancelled"}, own
    images = cluster.site.rows("SELECT generation_id::text, file FROM inpainting_generatedimage")
    assert len(images) == len({pk for pk, _ in images}) == cluster.count("succeeded")
    assert {name for _, name in images} <= cluster.s3.names()
    return own


def test_every_accepted_generation_ends_once_whatever_is_killed(
    cluster: Cluster, photo_png: bytes, mask_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of the workers have clocks that are an hour wrong."""
    program = Program(cluster, photo_png, mask_png)
    between, before = GENERATIONS / (KILLS + 1), cluster.count("succeeded", "failed", "cancelled")
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


def test_a_rolling_restart_loses_no_generation_and_fails_no_call(
    cluster: Cluster, photo_png: bytes, mask_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM to one process after the other; clients, as behind a proxy, try the other web process."""
    program = Program(cluster, photo_png, mask_png)
    before = cluster.count("succeeded", "failed", "cancelled")
    with submitting(cluster, RUNNING, program, at_once=RUNNING) as answers:
        processes = (*cluster.webs, *cluster.workers)
        for number, process in enumerate(processes, 1):
            cluster.wait_until_ended(before + round(number * RUNNING / (len(processes) + 1)))
            assert process.process is not None
            process.process.send_signal(signal.SIGTERM)
            process.process.wait(60)
            process.start()
            process.wait_until(lambda process=process: process.get("/readyz")[0] == 200)  # type: ignore[misc]
    cluster.wait_until_ended(before + RUNNING)
    ends = check_ends(cluster, answers, RUNNING)
    retried = cluster.site.rows(
        "SELECT max(attempts) FROM inpainting_generation WHERE id = ANY(%s::uuid[])", [*answers.values()]
    )
    assert retried[0][0] <= 1, "a restart counted as an attempt"
    with capsys.disabled():
        print(
            f"\n{RUNNING} accepted during the restart of 5 processes: {dict(ends)}; repeated {dict(program.problems)}"
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
