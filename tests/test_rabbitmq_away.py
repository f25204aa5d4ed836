"""RabbitMQ is killed while a web process and a worker use it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.scaled_site import Site
from tests.support.services import rabbitmq_server, redis_server

pytestmark = pytest.mark.full


@pytest.mark.parametrize("seconds", [pytest.param(0, id="short"), pytest.param(180, id="minutes")])
def test_rabbitmq_wakes_workers_is_not_needed_and_is_used_again_when_it_is_back(
    tmp_path: Path, photo_png: bytes, mask_png: bytes, seconds: float
) -> None:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with rabbitmq_server(tmp_path) as broker, redis_server() as redis:
        (tmp_path / "site").mkdir()
        site = Site(
            tmp_path / "site",
            redis_url=redis.url,
            s3_url=f"file://{tmp_path}/pictures",
            database_url=postgres.start(),
            environment={"DREAMLAYER_BROKER_URL": broker.url},
        )
        with site.serving(site.process("worker", "--queues", "cpu,hooks")):
            site.web.wait_until(lambda: broker.consumers("cpu") == 1)
            site.paint(photo_png, mask_png)
            broker.stop()
            until = time.monotonic() + seconds
            for _ in range(3):
                site.paint(photo_png, mask_png)
            while time.monotonic() < until:
                site.paint(photo_png, mask_png)
                time.sleep(5)
            broker.start()
            site.paint(photo_png, mask_png)
            site.web.wait_until(lambda: broker.consumers("cpu") == 1)
            site.paint(photo_png, mask_png)
