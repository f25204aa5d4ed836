"""PostgreSQL becomes read-only, and a standby is promoted, while a web process and workers use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.installation import Installation
from tests.support.scaled_site import Site
from tests.support.services import redis_server
from tests.support.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.full

SOON_SECONDS = 10


@contextmanager
def serving(folder: Path, database_url: str) -> Iterator[tuple[Site, Installation]]:
    """A site of a web process and a worker, with the usual lease."""
    with redis_server() as redis:
        (folder / "site").mkdir()
        site = Site(
            folder / "site",
            redis_url=redis.url,
            s3_url=f"file://{folder}/pictures",
            database_url=database_url,
            environment={
                **{"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "CHAOS_STEP_SECONDS": "0.3"},
                **{"DREAMLAYER_WORKERS": "2", "DREAMLAYER_LEASE_SECONDS": "30"},
            },
        )
        worker = site.process("worker", "--queues", "cpu,hooks")
        with site.serving(worker):
            yield site, worker


@pytest.fixture(autouse=True)
def _postgresql() -> None:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")


def offer(site: Site, photo_png: bytes, mask_png: bytes) -> str | None:
    """Send a request; return the path of its generation, or None where the server asks to try again."""
    status, body = site.web.img2img(site.key, photo_png, mask_png, prefer="respond-async")
    assert (status, body.get("code")) in [(202, None), (503, "try_again")], body
    return str(body["url"]) if status == 202 else None


def wait_until_read_only(*processes: Installation) -> None:
    """Wait until each says that the database answers and cannot be written."""
    for process in processes:
        process.wait_until(partial(is_read_only, process))


def is_read_only(process: Installation) -> bool:
    status, body = process.get("/readyz")
    return status == 503 and json.loads(body).get("database") == "cannot be written"


def wait_until_ready(*processes: Installation) -> None:
    for process in processes:
        process.wait_until(partial(is_ready, process), seconds=SOON_SECONDS)


def is_ready(process: Installation) -> bool:
    return process.get("/readyz")[0] == 200


def test_pulses_in_which_the_server_is_read_only_cost_no_generation(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    database = postgres.Server()
    with serving(tmp_path, database.url) as (site, worker):
        urls = [site.accept(photo_png, mask_png) for _ in range(4)]
        offered: list[str | None] = []
        for _ in range(6):
            database.set("default_transaction_read_only", "on")
            offered += [offer(site, photo_png, mask_png) for _ in range(2)]
            time.sleep(0.6)
            database.set("default_transaction_read_only", "off")
            offered.append(offer(site, photo_png, mask_png))
            time.sleep(0.6)
        assert None in offered, "the server was not read-only when a request came"
        database.set("default_transaction_read_only", "on")
        wait_until_read_only(site.web, worker)
        assert site.web.get("/api/generations/", key=site.key)[0] == 200
        database.set("default_transaction_read_only", "off")
        wait_until_ready(site.web, worker)
        assert site.all_succeed_at_the_first_attempt([*urls, *filter(None, offered)])


@pytest.mark.parametrize("former", ["killed", "still answering"])
def test_a_promoted_standby_takes_over(tmp_path: Path, photo_png: bytes, mask_png: bytes, former: str) -> None:
    """Its address is that of the former primary, to which open connections still lead where that goes on answering."""
    primary = postgres.Server()
    standby = postgres.Server(primary=primary)
    primary.set("synchronous_standby_names", "'*'")  # an asynchronous one may lack what was committed last
    with tcp_proxy(primary.url) as address, serving(tmp_path, address.url) as (site, worker):
        urls = [site.accept(photo_png, mask_png) for _ in range(6)]
        if former == "killed":
            primary.kill()
        else:
            primary.set("default_transaction_read_only", "on")
        address.target = "127.0.0.1", standby.port
        wait_until_read_only(site.web, worker)
        assert offer(site, photo_png, mask_png) is None
        assert site.web.get("/api/generations/", key=site.key)[0] == 200
        standby.promote()
        wait_until_ready(site.web, worker)
        site.paint(photo_png, mask_png)
        assert site.all_succeed_at_the_first_attempt(urls)
