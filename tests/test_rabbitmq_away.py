"""RabbitMQ is killed while a web process and a worker use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.scaled_site import Site
from tests.support.services import rabbitmq_server, redis_server

pytestmark = pytest.mark.full


def test_rabbitmq_wakes_workers_is_not_needed_and_is_used_again_when_it_is_back(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
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
            for _ in range(3):
                site.paint(photo_png, mask_png)
            broker.start()
            site.web.wait_until(lambda: broker.consumers("cpu") == 1)
            site.paint(photo_png, mask_png)
