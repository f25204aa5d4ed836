"""Two web processes behind nginx and three workers on PostgreSQL, Redis and a bucket, and the clients of them.

CHAOS_SIZE is the share of the whole sizes, 1,000 generations, 100 kills and 1,000 websockets; .ci/full runs all of it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import psycopg
import pytest

from tests.support import postgres
from tests.support.disk_bucket import DiskBucket, disk_bucket
from tests.support.installation import Installation, overriding
from tests.support.scaled_site import Site
from tests.support.service_clients import base64_of
from tests.support.services import Nginx, PgBouncer, Redis, pgbouncer, redis_server, shipped_nginx

SIZE = float(os.environ.get("CHAOS_SIZE", "1"))
GENERATIONS, KILLS, SOCKETS, RUNNING = (max(10, round(SIZE * number)) for number in (1000, 100, 1000, 200))
CLIENTS = 8
CANCELLED_EVERY = 20
REPEATED = (502, 503, 504)
"""What nginx answers for a web process that dies, and what DreamLayer does while a server is away."""
RETRY_SECONDS = 0.3
GIVE_UP_SECONDS = 600
BUCKET_SECONDS = max(3, round(SIZE * 60))


class Cluster:
    """The servers and processes. front: nginx, while `serving`."""

    front: Nginx

    def __init__(
        self,
        folder: Path,
        *,
        redis: Redis,
        s3: DiskBucket,
        database: postgres.Server,
        pool: PgBouncer,
        **environment: str,
    ) -> None:
        self.folder, self.redis, self.s3, self.database, self.pool = folder, redis, s3, database, pool
        environment = {
            **overriding(LIVE_SOCKETS_PER_USER=300),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            **environment,
        }
        (folder / "site").mkdir()
        self.site = Site(
            folder / "site", redis_url=redis.url, s3_url=s3.url, database_url=pool.url, environment=environment
        )
        self.webs = [self.site.web, self.site.process("web")]
        self.workers = [
            self.site.process("worker", "--queues", "cpu,hooks", CHAOS_CLOCK_SECONDS=str(seconds))
            for seconds in (0, 3600, -3600)
        ]

    @contextmanager
    def serving(self) -> Iterator[Cluster]:
        front = shipped_nginx(self.folder, [web.port for web in self.webs])
        with self.site.serving(*self.webs[1:], *self.workers), front as self.front:
            yield self

    def kill_redis(self) -> None:
        self.redis.stop()
        time.sleep(1)
        self.redis.start()

    def kill_database(self) -> None:
        self.database.kill()
        time.sleep(1)
        self.database.start()
        Installation.wait_until(self.has_database)

    def has_database(self) -> bool:
        """Whether PgBouncer has noticed that PostgreSQL is back."""
        try:
            return self.ended() >= 0
        except psycopg.Error:
            return False

    def kill_bucket(self) -> None:
        self.s3.stop()
        time.sleep(1)
        self.s3.start()

    def fail_bucket(self, seconds: float) -> None:
        with self.s3.refusing(503, "SlowDown"):
            time.sleep(seconds)

    def kills(self) -> list[Callable[[], None]]:
        """A kill -9 of each role and server, one after the other."""
        processes = [self.webs[0], self.workers[0], self.webs[1], self.workers[1], self.workers[2]]
        kill: list[Callable[[], None]] = [lambda process=process: kill_all_of(process) for process in processes]  # type: ignore[misc]
        servers = [self.kill_redis, self.kill_database, self.kill_bucket, self.pool.restart, self.front.restart]
        return [one for pair in zip(kill, servers, strict=True) for one in pair]

    def count(self, *statuses: str) -> int:
        query = "SELECT count(*) FROM inpainting_generation WHERE status = ANY(%s)"
        return int(self.site.rows(query, list(statuses))[0][0])

    def ended(self) -> int:
        return self.count("succeeded", "failed", "cancelled")

    def wait_until_ended(self, how_many: int) -> None:
        Installation.wait_until(lambda: self.ended() >= how_many, seconds=GIVE_UP_SECONDS)


@contextmanager
def cluster_in(folder: Path, **environment: str) -> Iterator[Cluster]:
    """A cluster whose processes are not started yet. environment: of all of them."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    database = postgres.Server()
    with (
        redis_server() as redis,
        disk_bucket(folder) as s3,
        pgbouncer(database.url, folder, connections=40) as pool,
    ):
        yield Cluster(folder, redis=redis, s3=s3, database=database, pool=pool, **environment)


def kill_all_of(process: Installation) -> None:
    """Kill the parent and its child, and start both again."""
    assert process.process is not None
    for child in process.children_of(process.process.pid):
        os.kill(child, signal.SIGKILL)
    process.process.kill()
    process.process.wait()
    process.start()


class Program:
    """A client of nginx. problems: how often it met each status, 0 for no answer at all.

    repeats: whether it repeats what was not answered, as documented: with the same Idempotency-Key.
    """

    def __init__(self, cluster: Cluster, photo_png: bytes, mask_png: bytes, *, repeats: bool = True) -> None:
        self.site, self.key, self.repeats = cluster.front.url, cluster.site.key, repeats
        self.images = {"input_image": base64_of(photo_png), "mask": base64_of(mask_png)}
        self.problems: Counter[int] = Counter()

    def call(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Return status and body of the first answer that is not to be repeated."""
        sent = {"X-API-Key": self.key, "Content-Type": "application/json", **headers}
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                request = Request(self.site + path, data=body, headers=sent, method=method)
                with urlopen(request, timeout=120) as answer:
                    return answer.status, answer.read()
            except HTTPError as error:
                content = error.read()
                if error.code not in REPEATED:
                    return error.code, content
                self.problems[error.code] += 1
            except (OSError, ValueError) as error:  # refused, reset or cut off
                content = str(error).encode()
                self.problems[0] += 1
            assert self.repeats, f"{method} {path} failed: {content[:500]!r}"
            assert time.monotonic() < deadline, f"{path} was not answered"
            time.sleep(RETRY_SECONDS)

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        """Return the body of the answer, which must be a success."""
        status, content = self.call(path, method="POST", body=json.dumps(body).encode(), **headers)
        assert 200 <= status < 300, (path, status, content[:500])
        return json.loads(content)

    def submit(self, idempotency_key: str, prompt: str = "a lawn") -> str:
        """Return the id of the accepted generation."""
        headers = {"Idempotency-Key": idempotency_key, "Prefer": "respond-async"}
        return str(self.post("/api/img2img", {**self.images, "prompt": prompt}, **headers)["id"])


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

    ended, before = [0], cluster.ended()
    done = threading.Event()

    def count_ended() -> None:
        while not done.wait(0.3):
            try:
                ended[0] = cluster.ended() - before
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
