"""Redis, PostgreSQL and the bucket are killed, emptied or cut off while a web process and two workers use them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support import postgres
from tests.support.installation import Installation
from tests.support.scaled_site import Site, ids
from tests.support.services import S3, Redis, redis_server, s3_server
from tests.support.tcp_proxy import State, TcpProxy, tcp_proxy

pytestmark = pytest.mark.full


@dataclass
class Running:
    """A site whose worker `far` has its own way to PostgreSQL, which the test may cut; `near` is the other worker."""

    site: Site
    database: postgres.Server
    redis: Redis
    s3: S3
    to_redis: TcpProxy
    to_database: TcpProxy
    far: Installation
    near: Installation


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    database = postgres.Server()
    with (
        redis_server() as redis,
        s3_server() as s3,
        tcp_proxy(redis.url) as to_redis,
        tcp_proxy(database.url) as to_database,
    ):
        site = Site(
            tmp_path_factory.mktemp("away"),
            redis_url=to_redis.url,
            s3_url=s3.url,
            database_url=database.url,
            environment={"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "DREAMLAYER_WORKERS": "1"},
        )
        far = site.process(
            "worker", "--queues", "cpu", DREAMLAYER_DATABASE_URL=to_database.url, CHAOS_STEP_SECONDS="1.5"
        )
        near = site.process("worker", "--queues", "cpu,hooks")
        with site.serving(far, near):
            yield Running(site, database, redis, s3, to_redis, to_database, far, near)


@contextmanager
def socket_of(site: Site) -> Iterator[ClientConnection]:
    """A websocket that hears the events of all generations of the user."""
    ticket = json.loads(site.web.get("/api/tickets/", key=site.key, data=b"")[1])
    with connect(ticket["url"]) as socket:
        yield socket


def hears_an_end(socket: ClientConnection, url: str, *, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            event = json.loads(socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            if event["type"] == "succeeded" and event["id"] in url:
                return True
    except TimeoutError:
        pass
    return False


def hears_again(running: Running, socket: ClientConnection, photo_png: bytes, mask_png: bytes) -> bool:
    """Whether the socket hears the end of one of the next generations."""
    return any(
        hears_an_end(socket, running.site.accept(photo_png, mask_png), seconds=10 if attempt < 5 else 60)
        for attempt in range(6)
    )


@pytest.mark.parametrize("state", ["cut", "stalled"])
def test_without_redis_requests_are_accepted_and_painted_and_sockets_hear_again_when_it_is_back(
    running: Running, photo_png: bytes, mask_png: bytes, state: State
) -> None:
    with socket_of(running.site) as socket:
        assert hears_again(running, socket, photo_png, mask_png)
        running.to_redis.set(state)
        try:
            running.site.paint(photo_png, mask_png)
            running.site.wait_for_success(running.site.accept(photo_png, mask_png))
        finally:
            running.to_redis.set("open")
        assert hears_again(running, socket, photo_png, mask_png)


def test_an_emptied_redis_loses_nothing(running: Running, photo_png: bytes, mask_png: bytes) -> None:
    with socket_of(running.site) as socket:
        urls = [running.site.accept(photo_png, mask_png) for _ in range(4)]
        subprocess.run(["redis-cli", "-p", str(running.redis.port), "flushall"], capture_output=True, check=True)
        for url in urls:
            running.site.wait_for_success(url)
        assert hears_again(running, socket, photo_png, mask_png)


def test_a_killed_postgresql_loses_nothing(running: Running, photo_png: bytes, mask_png: bytes) -> None:
    site = running.site
    urls = [site.accept(photo_png, mask_png) for _ in range(6)]
    running.database.kill()
    try:
        status, body = site.web.img2img(site.key, photo_png, mask_png)
        assert (status, body["code"]) == (503, "try_again")
    finally:
        running.database.start()
    for url in urls:
        site.wait_for_success(url)
    assert painted_once(running)


def test_a_worker_that_loses_the_database_paints_nothing_twice(
    running: Running, photo_png: bytes, mask_png: bytes
) -> None:
    """Another worker paints its generation; the first one, back again, notices that and removes its own result."""
    site, far = running.site, running.far
    assert far.process is not None
    urls = [site.accept(photo_png, mask_png) for _ in range(12)]
    its_own = "SELECT FROM inpainting_generation WHERE status = 'running' AND step > 0 AND worker LIKE %s"
    site.web.wait_until(lambda: any(site.rows(its_own, f"%:{pid}:%") for pid in far.children_of(far.process.pid)))  # type: ignore[union-attr]
    running.to_database.set("cut")
    for url in urls:
        site.wait_for_success(url)
    running.to_database.set("open")
    site.web.wait_until(lambda: far.get("/readyz")[0] == 200)
    site.paint(photo_png, mask_png)
    assert painted_once(running)
    fences = site.rows("SELECT max(fence) FROM inpainting_generation WHERE id = ANY(%s)", ids(urls))
    assert fences[0][0] > 1, "the worker held none when it was cut off"


def test_a_worker_that_hangs_is_replaced(running: Running, photo_png: bytes, mask_png: bytes) -> None:
    assert running.near.process is not None
    children = running.near.children_of(running.near.process.pid)
    (running.near.folder / "hang").touch()
    for url in [running.site.accept(photo_png, mask_png) for _ in range(4)]:
        running.site.wait_for_success(url)
    assert not (running.near.folder / "hang").exists()
    running.site.web.wait_until(lambda: running.near.children_of(running.near.process.pid) not in ([], children))  # type: ignore[union-attr]
    assert painted_once(running)


def test_a_bucket_that_answers_503_for_a_while_loses_nothing(
    running: Running, photo_png: bytes, mask_png: bytes
) -> None:
    site = running.site
    urls = [site.accept(photo_png, mask_png) for _ in range(4)]
    running.s3.fault = (503, "SlowDown")
    try:
        status, body = site.web.img2img(site.key, photo_png, mask_png)
        assert (status, body["code"]) == (503, "storage_unavailable")
    finally:
        running.s3.fault = None
    for url in urls:
        site.wait_for_success(url)
    assert site.rows("SELECT max(attempts) FROM inpainting_generation WHERE id = ANY(%s)", ids(urls)) == [(1,)]
    assert painted_once(running)


def painted_once(running: Running) -> bool:
    """Whether each ended generation has one result, and the bucket no other; late workers may still be deleting."""
    site = running.site
    running.site.web.wait_until(
        lambda: result_files(running) == len(site.rows("SELECT FROM inpainting_generatedimage"))
    )
    return site.rows(
        "SELECT count(*) FROM inpainting_generation WHERE status = 'succeeded' AND 1 != "
        "(SELECT count(*) FROM inpainting_generatedimage WHERE generation_id = inpainting_generation.id)"
    ) == [(0,)]


def result_files(running: Running) -> int:
    return sum(name.startswith("generatedimage/") and name.endswith(".png") for name in running.s3.names())
