"""Redis, PostgreSQL and the bucket are killed, emptied or cut off while a web process and two workers use them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support import postgres
from tests.support.installation import Installation
from tests.support.scaled_site import Site, ids
from tests.support.services import S3, Redis, redis_server, s3_server
from tests.support.tcp_proxy import State, TcpProxy, tcp_proxy

pytestmark = pytest.mark.full

OUTAGES = [pytest.param(38, id="short"), pytest.param(180, id="minutes")]
"""Seconds. By psycopg_pool's default the pauses between attempts to connect are 1, 2, 4, 8, 16 and 32 seconds, a
tenth more or less, so after the shorter one a process stays without PostgreSQL for another 16 seconds at least."""
SOON_SECONDS = 10


Result = TypeVar("Result")


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
    with serving(tmp_path_factory.mktemp("away"), {}, far={"CHAOS_STEP_SECONDS": "1.5"}) as processes:
        yield processes


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A site with the usual lease: a worker that waits for PostgreSQL is not taken for one that hangs."""
    environment = {"DREAMLAYER_LEASE_SECONDS": "30", "CHAOS_STEP_SECONDS": "0.5"}
    with serving(tmp_path_factory.mktemp("patient"), environment) as processes:
        yield processes


@contextmanager
def serving(folder: Path, environment: Mapping[str, str], *, far: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start a site. environment: of its processes. far: of the worker of that name, besides."""
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
            folder,
            redis_url=to_redis.url,
            s3_url=s3.url,
            database_url=database.url,
            environment={"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "DREAMLAYER_WORKERS": "1", **environment},
        )
        far_worker = site.process("worker", "--queues", "cpu", DREAMLAYER_DATABASE_URL=to_database.url, **(far or {}))
        near = site.process("worker", "--queues", "cpu,hooks")
        with site.serving(far_worker, near):
            yield Running(site, database, redis, s3, to_redis, to_database, far_worker, near)


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


def test_a_killed_postgresql_loses_nothing(patient: Running, photo_png: bytes, mask_png: bytes) -> None:
    site = patient.site
    urls = [site.accept(photo_png, mask_png) for _ in range(6)]
    patient.database.kill()
    try:
        status, body = site.web.img2img(site.key, photo_png, mask_png)
        assert (status, body["code"]) == (503, "try_again")
    finally:
        patient.database.start()
    for url in urls:
        site.wait_for_success(url)
    assert painted_once(patient)


@pytest.mark.parametrize("seconds", OUTAGES)
def test_every_process_works_soon_after_a_long_outage_of_postgresql(
    patient: Running, photo_png: bytes, mask_png: bytes, seconds: float
) -> None:
    site = patient.site
    urls = [site.accept(photo_png, mask_png) for _ in range(4)]
    patient.database.kill()
    with ThreadPoolExecutor() as beside:
        calls = beside.submit(during, seconds - 12, lambda: site.web.img2img(site.key, photo_png, mask_png))
        time.sleep(seconds)
        patient.database.start()
        assert {(status, body["code"]) for status, body in calls.result()} == {(503, "try_again")}
    assert all_ready_within(SOON_SECONDS, patient)
    site.paint(photo_png, mask_png)
    assert site.all_succeed_at_the_first_attempt(urls)


@pytest.mark.parametrize("seconds", OUTAGES)
def test_sockets_hear_the_ends_that_they_missed_during_a_long_outage_of_redis(
    patient: Running, photo_png: bytes, mask_png: bytes, seconds: float
) -> None:
    site = patient.site
    with socket_of(site) as socket:
        assert hears_again(patient, socket, photo_png, mask_png)
        before = [site.accept(photo_png, mask_png) for _ in range(2)]
        patient.redis.stop()
        try:
            meanwhile = [site.accept(photo_png, mask_png) for _ in range(2)]
            for url in (*before, *meanwhile):
                site.wait_for_success(url)
            assert all(during(seconds / 2, lambda: all_ready_within(SOON_SECONDS, patient)))
        finally:
            patient.redis.start()
        missed = set(map(str, ids([*before, *meanwhile])))
        deadline = time.monotonic() + 60
        while missed:
            event = json.loads(socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            if event["type"] == "succeeded":
                missed.discard(event["id"])
        assert hears_again(patient, socket, photo_png, mask_png)


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


def test_a_worker_that_cannot_write_to_the_storage_claims_nothing(
    running: Running, photo_png: bytes, mask_png: bytes
) -> None:
    no_folder = running.site.folder / "a file where the folder should be"
    no_folder.touch()
    unready = running.site.process(
        "worker", "--queues", "cpu", DREAMLAYER_STORAGE_URL=f"file://{quote(str(no_folder))}"
    )
    process = unready.start()
    try:
        unready.wait_until(lambda: unready.get("/readyz")[0] == 503)
        for url in [running.site.accept(photo_png, mask_png) for _ in range(6)]:
            running.site.wait_for_success(url)
        unready.wait_until(lambda: "claims no work" in unready.log)
        assert "starts, attempt" not in unready.log
    finally:
        process.terminate()
        process.wait(40)


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


def during(seconds: float, call: Callable[[], Result]) -> list[Result]:
    """Repeat a call for so long; return what it returned."""
    deadline, returned = time.monotonic() + seconds, []
    while time.monotonic() < deadline:
        returned.append(call())
        time.sleep(0.5)
    return returned


def all_ready_within(seconds: float, running: Running) -> bool:
    """Whether each process says in time that it is ready."""

    def is_ready(process: Installation) -> bool:
        started = time.monotonic()
        process.wait_until(lambda: process.get("/readyz")[0] == 200)
        return time.monotonic() - started < seconds

    with ThreadPoolExecutor() as threads:
        return all(threads.map(is_ready, [running.site.web, running.far, running.near]))


def painted_once(running: Running) -> bool:
    """Whether each ended generation has one result, and the bucket no other; late workers may still be deleting."""
    site = running.site

    def unmatched() -> set[str]:
        return result_files(running) ^ {name for (name,) in site.rows("SELECT file FROM inpainting_generatedimage")}

    with suppress(AssertionError):
        site.web.wait_until(lambda: not unmatched())
    if files := unmatched():
        print(f"{files} have no row, or no file", running.far.log, running.near.log, sep="\n\n")
    return not files and site.rows(
        "SELECT count(*) FROM inpainting_generation WHERE status = 'succeeded' AND 1 != "
        "(SELECT count(*) FROM inpainting_generatedimage WHERE generation_id = inpainting_generation.id)"
    ) == [(0,)]


def result_files(running: Running) -> set[str]:
    return {name for name in running.s3.names() if name.startswith("generatedimage/") and name.endswith(".png")}
