"""A web process and workers that are separate, on PostgreSQL, Redis and an S3 server that the tests start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.installation import ROOT, Installation
from tests.support.scaled_site import Site
from tests.support.services import S3, Redis, pgbouncer, redis_server, s3_server

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "onnxruntime"}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Redis, S3]]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with redis_server() as redis, s3_server() as s3:
        yield redis, s3


@pytest.fixture(scope="module")
def scaled(servers: tuple[Redis, S3], tmp_path_factory: pytest.TempPathFactory) -> Site:
    redis, s3 = servers
    folder = tmp_path_factory.mktemp("scaled")
    return Site(folder, redis_url=redis.url, s3_url=s3.url, database_url=postgres.start())


@pytest.mark.full
def test_a_generation_passes_through_web_process_worker_and_bucket(
    scaled: Site, servers: tuple[Redis, S3], photo_png: bytes, mask_png: bytes
) -> None:
    """The web process imports no heavy library; Redis away stops nothing, and is used again when it is back."""
    redis, s3 = servers
    scaled.web.environment["PYTHONPROFILEIMPORTTIME"] = "1"  # it then logs each module that it imports
    worker = scaled.process("worker", "--queues", "cpu,hooks")
    with scaled.serving(worker):
        status, body = scaled.web.img2img(scaled.key, photo_png, mask_png)
        assert (status, body["status"]) == (200, "success")
        image = str(body["images"][0])  # type: ignore[index]
        assert scaled.web.get(image[image.index("/", 8) :])[1].startswith(b"\x89PNG")
        assert len(s3.names()) >= 3  # source, mask, result
        assert not (scaled.web.folder / "pictures").exists()
        assert (worker.get("/livez")[0], worker.get("/readyz")[0], worker.get("/")[0]) == (200, 200, 404)

        redis.stop()
        try:
            status, body = scaled.web.img2img(scaled.key, photo_png, mask_png)
            assert (status, body["status"]) == (200, "success")
        finally:
            redis.start()
        assert scaled.web.img2img(scaled.key, photo_png, mask_png)[0] == 200
    imported = imported_by(scaled.web)
    assert "inpainting.generations.submit" in imported
    assert not HEAVY & imported
    assert "Traceback" not in worker.log


def imported_by(process: Installation) -> set[str]:
    """The modules that a process with PYTHONPROFILEIMPORTTIME imported."""
    return set(re.findall(r"^import time:.*\| +(\S+)$", process.log, re.MULTILINE))


@pytest.mark.full
def test_behind_pgbouncer_a_killed_worker_loses_nothing_and_connections_stay_bounded(
    servers: tuple[Redis, S3], tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    (tmp_path / "site").mkdir()
    few = {"DREAMLAYER_WORKERS": "1", "DREAMLAYER_DIFFUSION_AT_ONCE": "1", "DREAMLAYER_DATABASE_CONNECTIONS": "12"}
    with pgbouncer(postgres.start(), tmp_path, connections=4) as pool:
        redis, s3 = servers
        site = Site(tmp_path / "site", redis_url=redis.url, s3_url=s3.url, database_url=pool.url, environment=few)
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
def test_networks_select_in_workers_of_which_one_is_killed_and_never_in_the_web_process(
    servers: tuple[Redis, S3], tmp_path: Path, photo_png: bytes
) -> None:
    """The workers alone have the model's files. Each accepted selection ends once, with one mask."""
    pytest.importorskip("onnxruntime", reason="the erase engine is not installed")
    from tests.support import tiny_networks

    (network := tmp_path / "u2netp.onnx").write_bytes(tiny_networks.salient(64))
    (tmp_path / "site").mkdir()
    redis, s3 = servers
    site = Site(tmp_path / "site", redis_url=redis.url, s3_url=s3.url, database_url=postgres.start())
    models = {"DREAMLAYER_MODELS": str(tmp_path / "models")}
    workers = [site.process("worker", "--queues", "cpu", **models) for _ in range(2)]
    workers[0].manage("pull_model", "u2netp", "--yes", f"--from={network}")
    site.web.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    body = json.dumps({"image": b64encode(photo_png).decode(), "segmenter": "u2netp"}).encode()
    headers = {"Content-Type": "application/json"}
    with site.serving(*workers) as (_, killed, _), ThreadPoolExecutor(8) as callers:
        status, found = site.web.get("/api/masks/", key=site.key, data=body, headers=headers)
        assert (status, json.loads(found)["segmenter"]) == (201, "u2netp")
        asynchronous = {**headers, "Prefer": "respond-async"}
        accepted = [
            callers.submit(site.web.get, "/api/masks/", key=site.key, data=body, headers=asynchronous)
            for _ in range(20)
        ]
        assert accepted[0].result()[0] == 202
        os.killpg(killed.pid, signal.SIGKILL)
        assert {future.result()[0] for future in accepted} == {202}
        counts = "SELECT status, count(*), count(mask_id) FROM inpainting_analysis GROUP BY status"
        site.web.wait_until(lambda: site.rows(counts) == [("succeeded", 20, 20)])
    assert site.rows("SELECT count(*) FROM inpainting_uploadedimage") == [(21,)]
    assert not HEAVY & imported_by(site.web)
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
    redis, s3 = servers
    environment = {**slow, "DREAMLAYER_DRAIN_SECONDS": "100"}
    site = Site(tmp_path, redis_url=redis.url, s3_url=s3.url, database_url=postgres.start(), environment=environment)
    finishing, returning = site.process("worker", "--queues", "cpu"), site.process("worker", "--queues", "cpu")
    returning.environment["DREAMLAYER_DRAIN_SECONDS"] = "0.1"
    for worker in (finishing, returning):
        (worker.folder / "hold").touch()

    def states() -> list[tuple[str, int]]:
        return site.rows("SELECT status, attempts FROM inpainting_generation ORDER BY created_at")

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


@pytest.mark.full
def test_a_backup_is_restored_into_another_database_and_bucket(
    scaled: Site, servers: tuple[Redis, S3], tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    """With the commands of docs/run/scaling.md."""
    with scaled.serving(scaled.process("worker", "--queues", "cpu")):
        scaled.paint(photo_png, mask_png)
        url = scaled.accept(photo_png, mask_png)  # may be queued or running in the backup
        copies = {**scaled.environment, "BACKUP": str(tmp_path)}
        run_documented("pg_dump", copies)
        scaled.wait_for_success(url)
    names = servers[1].names()
    servers[1].empty()
    restored = {**copies, "DREAMLAYER_DATABASE_URL": postgres.start()}
    assert ": 0 missing" in run_documented("pg_restore", restored)
    (tmp_path / "site").mkdir()
    assert servers[1].names() <= names
    site = Site(
        tmp_path / "site",
        redis_url=servers[0].url,
        s3_url=servers[1].url,
        database_url=restored["DREAMLAYER_DATABASE_URL"],
    )
    with site.serving(site.process("worker", "--queues", "cpu")):
        site.wait_for_success(url)


def run_documented(command: str, environment: Mapping[str, str]) -> str:
    """Run the block of docs/run/scaling.md that contains the command; return its output."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/run/scaling.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if command in block)
    path = f"{postgres.binaries()}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", block.replace(".venv/bin/python", sys.executable)],
        env={**os.environ, **environment, "PATH": path, "DREAMLAYER_DATA_DIR": environment["BACKUP"]},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
