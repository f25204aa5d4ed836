"""A web process and workers that are separate, on PostgreSQL, Redis and an S3 server that the tests start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.installation import Installation
from tests.services import S3, Redis, pgbouncer, redis_server, s3_server

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "onnxruntime"}


class Site:
    """The servers, one web process, and the workers that a test starts."""

    def __init__(self, folder: Path, redis: Redis, s3: S3, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.redis, self.s3 = folder, redis, s3
        self.environment = {
            "DREAMLAYER_DATABASE_URL": postgres.start(),
            "DREAMLAYER_BROKER_URL": redis.url,
            "DREAMLAYER_CHANNEL_URL": redis.url.replace("/0", "/1"),
            "DREAMLAYER_STORAGE_URL": s3.url,
            "DREAMLAYER_SECRET_KEY": "of all processes",
            "DREAMLAYER_LEASE_SECONDS": "4",
            "DREAMLAYER_LOG_LEVEL": "INFO",
            **(environment or {}),
        }
        self.web = self.process("web")
        self.web.manage("migrate", "--verbosity", "0")
        self.key = self.web.manage("create_api_key", "alice@example.com", "--create-user").strip()

    def process(self, role: str, *options: str) -> Installation:
        """A process of that role with a data folder of its own, as on another machine."""
        folder = self.folder / f"{role}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        installation = Installation(folder, **self.environment)
        installation.serve_options = ["--role", role, *options]
        return installation

    @contextmanager
    def serving(self, *workers: Installation) -> Iterator[list[subprocess.Popen[str]]]:
        with ExitStack() as stack:
            yield [stack.enter_context(process.serving()) for process in (self.web, *workers)]

    def has_succeeded(self, url: object) -> bool:
        return b'"succeeded"' in self.web.get(str(url), key=self.key)[1]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Redis, S3]]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with redis_server() as redis, s3_server() as s3:
        yield redis, s3


@pytest.fixture(scope="module")
def scaled(servers: tuple[Redis, S3], tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("scaled"), *servers)


@pytest.mark.full
def test_a_generation_passes_through_web_process_worker_and_bucket(
    scaled: Site, photo_png: bytes, mask_png: bytes
) -> None:
    """The web process imports no heavy library; Redis away stops nothing, and is used again when it is back."""
    scaled.web.environment["PYTHONPROFILEIMPORTTIME"] = "1"  # it then logs each module that it imports
    worker = scaled.process("worker", "--queues", "cpu,hooks")
    with scaled.serving(worker):
        status, body = scaled.web.img2img(scaled.key, photo_png, mask_png)
        assert (status, body["status"]) == (200, "success")
        picture = str(body["images"][0])  # type: ignore[index]
        assert scaled.web.get(picture[picture.index("/", 8) :])[1].startswith(b"\x89PNG")
        assert len(scaled.s3.names()) >= 3  # source, mask, result
        assert not (scaled.web.folder / "pictures").exists()
        assert (worker.get("/livez")[0], worker.get("/readyz")[0], worker.get("/")[0]) == (200, 200, 404)

        scaled.redis.stop()
        try:
            status, body = scaled.web.img2img(scaled.key, photo_png, mask_png)
            assert (status, body["status"]) == (200, "success")
        finally:
            scaled.redis.start()
        assert scaled.web.img2img(scaled.key, photo_png, mask_png)[0] == 200
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", scaled.web.log, re.MULTILINE))
    assert "inpainting.generations.submit" in imported
    assert not HEAVY & imported
    assert "Traceback" not in worker.log


@pytest.mark.full
def test_behind_pgbouncer_a_killed_worker_loses_nothing_and_connections_stay_bounded(
    servers: tuple[Redis, S3], tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    (tmp_path / "site").mkdir()
    few = {"DREAMLAYER_WORKERS": "1", "DREAMLAYER_DIFFUSION_AT_ONCE": "1", "DREAMLAYER_DATABASE_CONNECTIONS": "10"}
    with pgbouncer(postgres.start(), tmp_path, connections=4) as url:
        site = Site(tmp_path / "site", *servers, {"DREAMLAYER_DATABASE_URL": url, **few})
        workers = [site.process("worker"), site.process("worker")]
        with site.serving(*workers) as (_, killed, _), ThreadPoolExecutor(8) as callers:
            accepted = [
                callers.submit(site.web.img2img, site.key, photo_png, mask_png, prefer="respond-async")
                for _ in range(40)
            ]
            bodies = [future.result() for future in accepted]
            assert {status for status, _ in bodies} == {202}
            os.killpg(killed.pid, signal.SIGKILL)
            for _, body in bodies:
                site.web.wait_until(lambda body=body: site.has_succeeded(body["url"]))  # type: ignore[misc]
        assert ": 0 missing" in site.web.manage("check_files", "--hashes", "--older-than-hours", "1")


@pytest.mark.full
def test_a_process_that_is_to_stop_finishes_its_work_or_returns_it(
    servers: tuple[Redis, S3], tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    """No attempt is counted for what a worker returns, and a web process answers its open requests first."""
    slow = {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "DREAMLAYER_WORKERS": "1",
        "DREAMLAYER_LEASE_SECONDS": "60",
    }
    site = Site(tmp_path, *servers, {**slow, "DREAMLAYER_DRAIN_SECONDS": "100"})
    finishing, returning = site.process("worker", "--queues", "cpu"), site.process("worker", "--queues", "cpu")
    returning.environment["DREAMLAYER_DRAIN_SECONDS"] = "0.1"
    for worker in (finishing, returning):
        (worker.folder / "hold").touch()

    def states() -> list[tuple[str, int]]:
        with psycopg.connect(site.environment["DREAMLAYER_DATABASE_URL"]) as database:
            return database.execute("SELECT status, attempts FROM inpainting_generation ORDER BY created_at").fetchall()

    with ThreadPoolExecutor(2) as callers, site.web.serving() as web:
        with finishing.serving() as process:
            waiting = callers.submit(site.web.img2img, site.key, photo_png, mask_png)
            site.web.wait_until(lambda: states() == [("running", 1)])
            assert site.web.img2img(site.key, photo_png, mask_png, prefer="respond-async")[0] == 202
            for stopping in (process, web):
                stopping.send_signal(signal.SIGTERM)
            site.web.wait_until(lambda: (finishing.get("/readyz")[0], site.web.get("/readyz")[0]) == (0, 0))
            (finishing.folder / "hold").unlink()
            assert process.wait(60) == 0
        assert waiting.result(60)[1]["status"] == "success"
        assert web.wait(60) == 0
    assert states() == [("succeeded", 1), ("queued", 0)]
    with returning.serving() as process:
        site.web.wait_until(lambda: states()[1] == ("running", 1))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert states() == [("succeeded", 1), ("queued", 0)]
