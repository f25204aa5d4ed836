"""`serve --devices`: one command, a process for each device, one port; with PostgreSQL, Redis and real processes.

The devices are simulated: processes on the CPU, and GPUs of which only a program in place of nvidia-smi tells.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dreamlayer_site.server.supervisor import INVALID_SETTINGS
from tests.support import postgres
from tests.support.installation import Installation
from tests.support.scaled_site import Site, ids
from tests.support.services import Redis, redis_server

pytestmark = pytest.mark.full
SENT = 12
TOKEN = {"DREAMLAYER_METRICS_TOKEN": "of-prometheus"}
DRIVER = "#!/bin/sh\necho 'GPU-aa11, 24564'\necho 'GPU-bb22, 81559'\n"


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with redis_server() as server:
        yield server


@pytest.fixture
def site(redis: Redis, tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(
        tmp_path / "site",
        redis_url=redis.url,
        s3_url=f"file://{tmp_path}/pictures",
        database_url=postgres.start(),
        environment={"DREAMLAYER_WORKERS": "1", **TOKEN},
    )


def children_of(host: Installation) -> list[int]:
    assert host.process is not None
    return host.children_of(host.process.pid)


def health(host: Installation, path: str = "/readyz") -> tuple[int, dict[str, str]]:
    """The status of the one port, and that of each device."""
    status, body = host.get(path)
    return status, {name: state["status"] for name, state in json.loads(body)["devices"].items()} if status else {}


def workers(site: Site) -> dict[str, str]:
    """The device of each live row -> its name."""
    return dict(site.rows("SELECT device, name FROM inpainting_worker WHERE stopped_at IS NULL"))


def send(site: Site, photo_png: bytes, mask_png: bytes, count: int = SENT) -> list[str]:
    return [site.accept(photo_png, mask_png) for _ in range(count)]


def painted_by(site: Site, urls: list[str]) -> Counter[str]:
    """How many of these generations each worker has painted."""
    rows = site.rows("SELECT worker FROM inpainting_generation WHERE id = ANY(%s)", ids(urls))
    return Counter(name for (name,) in rows)


def test_two_devices_are_two_workers_behind_one_port_and_do_each_others_work(
    site: Site, photo_png: bytes, mask_png: bytes
) -> None:
    host = site.process("worker", "--queues", "cpu", "--devices", "cpu:0,cpu:1")
    with site.serving(host):
        assert health(host) == health(host, "/livez") == (200, {"cpu:0": "ok", "cpu:1": "ok"})
        first = workers(site)
        assert first.keys() == {"cpu:0", "cpu:1"}
        urls = send(site, photo_png, mask_png)
        assert site.all_succeed_at_the_first_attempt(urls)
        assert painted_by(site, urls).keys() == set(first.values())

        status, body = host.get("/metrics", headers={"Authorization": "Bearer of-prometheus"})
        assert status == 200
        ended = {
            sample.labels["device"]: sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name == "dreamlayer_generations_ended_total"
        }
        assert ended == {device: painted_by(site, urls)[name] for device, name in first.items()}
        assert host.get("/metrics")[0] == 401

        # One is killed: the other does its work, and it comes back under the same row.
        (killed,) = (child for child in children_of(host) if f":{child}:" in first["cpu:0"])
        os.kill(killed, signal.SIGSTOP)  # so that it can finish nothing
        urls = send(site, photo_png, mask_png)
        os.kill(killed, signal.SIGKILL)
        host.wait_until(lambda: health(host) == (503, {"cpu:0": "unavailable", "cpu:1": "ok"}))
        for url in urls:
            site.wait_for_success(url)
        assert first["cpu:1"] in painted_by(site, urls)
        host.wait_until(lambda: health(host) == (200, {"cpu:0": "ok", "cpu:1": "ok"}))
        second = workers(site)
        assert second["cpu:1"] == first["cpu:1"]
        assert second["cpu:0"] not in (first["cpu:0"], first["cpu:1"])
        assert site.rows("SELECT count(*) FROM inpainting_worker") == [(2,)]

        # One is asked to stop: it comes back, too.
        (asked,) = (child for child in children_of(host) if f":{child}:" in second["cpu:1"])
        os.kill(asked, signal.SIGTERM)
        host.wait_until(lambda: workers(site).get("cpu:1", second["cpu:1"]) != second["cpu:1"])
        host.wait_until(lambda: health(host) == (200, {"cpu:0": "ok", "cpu:1": "ok"}))

        # Drained together, they claim nothing, and stay so where one is started again.
        assert site.web.manage("drain", socket.gethostname(), "--all").count("claims no more work") == 2
        urls = send(site, photo_png, mask_png, 2)
        os.kill(children_of(host)[0], signal.SIGKILL)
        before = workers(site)
        host.wait_until(lambda: workers(site).values() != before.values() and health(host)[0] == 200)
        assert painted_by(site, urls) == {"": 2}
        assert site.web.manage("drain", socket.gethostname(), "--all", "--resume").count("claims work again") == 2
        for url in urls:
            site.wait_for_success(url)
    assert host.process is not None
    assert host.process.returncode == 0
    assert children_of(host) == []
    assert workers(site) == {}, "they did not sign off"
    assert "Traceback" not in host.log


def test_all_is_each_gpu_that_the_driver_tells_of(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text(DRIVER)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    host = site.process("worker", "--queues", "gpu", "--devices", "all", PATH=path)
    with site.serving(host):
        assert health(host) == (200, {"cuda:0": "ok", "cuda:1": "ok"})
        found = site.rows("SELECT device, memory_bytes, gpu_slots FROM inpainting_worker ORDER BY device")
        assert found == [("cuda:0", 24564 * 2**20, 16), ("cuda:1", 81559 * 2**20, 16)]
        for child, uuid in zip(children_of(host), ("GPU-aa11", "GPU-bb22"), strict=True):
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            assert f"CUDA_VISIBLE_DEVICES={uuid}".encode() in environment


def test_invalid_settings_end_it_with_the_status_that_systemd_knows(site: Site) -> None:
    host = site.process("worker", "--queues", "gpu", "--devices", "cpu:0,cpu:1", DREAMLAYER_DATABASE_CONNECTIONS="2")
    assert host.start().wait(120) == INVALID_SETTINGS
    assert "DREAMLAYER_DATABASE_CONNECTIONS is 2." in host.log
    assert "restarting it" not in host.log
    host.serve_options[-1] = "all"
    host.environment["PATH"] = "/nonexistent"
    assert host.start().wait(120) == INVALID_SETTINGS
    assert "--devices all: “all” stands for NVIDIA GPUs" in host.log
