"""`manage.py check_setup` connects to the servers of a site, and names each thing that is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.storage import storages
from django.utils import timezone

from accounts.models import User
from dreamlayer_site.setup_checks import Finding, Level, check_addresses, check_storage, check_workers
from inpainting.models import Generation, Worker
from tests.support import postgres
from tests.support.faketime import Clock
from tests.support.installation import ROOT, Installation
from tests.support.ports import free_port
from tests.support.services import Redis, redis_server, s3_server

Found = set[tuple[str, str]]
SECRET_KEY = "of all processes, and as long as Django wants it to be"


@pytest.fixture(scope="module")
def database() -> postgres.Server:
    """A server whose database `latin` has another encoding."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    server = postgres.Server()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        connection.execute("CREATE ROLE another LOGIN")
    return server


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


def check(folder: Path, *options: str, **environment: str) -> tuple[int, Found, str]:
    """Run the command; return its status, the level and part of each finding, and its output."""
    known = {
        "DREAMLAYER_SECRET_KEY": SECRET_KEY,
        "DREAMLAYER_SITE_URL": "https://paint.example.org",
        "DREAMLAYER_ALLOWED_HOSTS": "paint.example.org",
        "DREAMLAYER_BEHIND_TLS": "true",
    }
    own = Installation(folder, **known | environment).environment
    command = [sys.executable, "manage.py", "check_setup", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = [Finding(**finding) for finding in json.loads(done.stdout)]
    assert all(finding.advice for finding in found if finding.level != Level.OK)
    return done.returncode, {(finding.level, finding.part) for finding in found}, done.stdout


def test_servers_that_are_away_and_settings_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    status, found, output = check(
        tmp_path,
        DREAMLAYER_DATABASE_URL=f"postgres://me:hidden@{away}/name",
        DREAMLAYER_BROKER_URL=f"redis://:hidden@{away}/0",
        DREAMLAYER_CHANNEL_URL=f"redis://:hidden@{away}/1",
        DREAMLAYER_STORAGE_URL=f"s3://KEY:hidden@{away}/bucket?tls=false",
        DREAMLAYER_SECRET_KEY="short",
        DREAMLAYER_ALLOWED_HOSTS="another.example.org",
        DREAMLAYER_BEHIND_TLS="false",
        DREAMLAYER_DATABASE_CONNECTIONS="1",
    )
    assert status == 1
    parts = ("settings", "secret key", "site address", "TLS", "database", "broker", "channel layer", "storage")
    assert found == {("error", part) for part in parts}
    assert "hidden" not in output


def test_an_empty_database_in_another_encoding_is_two_errors(
    database: postgres.Server, redis: Redis, tmp_path: Path
) -> None:
    status, found, _ = check(
        tmp_path,
        DREAMLAYER_DATABASE_URL=database.url.replace("/postgres", "/latin"),
        DREAMLAYER_BROKER_URL=redis.url,
        DREAMLAYER_CHANNEL_URL=redis.url,
        DREAMLAYER_STORAGE_URL=f"file://{tmp_path}/pictures",
    )
    assert status == 1
    assert {part for level, part in found if level == "error"} == {"database", "migrations"}


def test_a_site_that_can_be_served_has_no_error_until_a_clock_or_a_right_is_wrong(
    database: postgres.Server, redis: Redis, tmp_path: Path
) -> None:
    subprocess.run(["redis-cli", "-p", str(redis.port), "config", "set", "maxmemory-policy", "allkeys-lru"], check=True)
    subprocess.run(["redis-cli", "-p", str(redis.port), "config", "set", "maxmemory", "64mb"], check=True)
    with s3_server() as s3:
        environment = {
            "DREAMLAYER_DATABASE_URL": database.url,
            "DREAMLAYER_BROKER_URL": redis.url,
            "DREAMLAYER_CHANNEL_URL": redis.url,
            "DREAMLAYER_STORAGE_URL": s3.url,
        }
        Installation(tmp_path, **environment).manage("migrate", "--verbosity", "0")
        status, found, _ = check(tmp_path, **environment)
        assert status == 0
        assert {part for level, part in found if level == "ok"} >= {
            *("settings", "secret key", "site address", "TLS", "database", "rights", "migrations", "clock", "broker"),
            *("channel layer", "storage"),
        }
        assert {part for level, part in found if level == "warning"} == {
            *("queue cpu", "queue gpu", "queue hooks", "broker", "storage")
        }

        clock = Clock(tmp_path)
        clock.set(3600)
        wrong = {"DREAMLAYER_DATABASE_URL": database.url.replace("//dreamlayer@", "//another@")}
        status, found, _ = check(tmp_path, "--role", "worker", **environment | wrong)
        assert (status, {part for level, part in found if level == "error"}) == (1, {"rights"})
        status, found, _ = check(tmp_path, "--role", "worker", **environment | clock.environment)
        assert (status, {part for level, part in found if level == "error"}) == (1, {"clock"})


def test_a_storage_without_the_newest_image_is_another_one(
    generate: Callable[..., Generation], alice: User, settings: Any, tmp_path: Path
) -> None:
    (_, unknown) = check_storage()
    assert unknown.level == Level.WARNING
    generate(alice, run=False)
    (_, shared) = check_storage()
    assert (shared.level, shared.part) == (Level.OK, "storage")
    options = {**settings.STORAGES["default"], "OPTIONS": {"location": tmp_path / "another"}}
    settings.STORAGES = {**settings.STORAGES, "default": options}
    assert not storages["default"].exists("generations")
    (_, other) = check_storage()
    assert (other.level, other.message) == (Level.ERROR, "the newest image of the site is not in it")


@pytest.mark.django_db
def test_a_queue_without_a_ready_worker_is_named(settings: Any) -> None:
    settings.IS_ALONE = False
    now = timezone.now()
    Worker.objects.create(name="a", parent="a", queues=["cpu", "hooks"], seen_at=now, started_at=now)
    Worker.objects.create(name="b", parent="b", queues=["gpu"], seen_at=now, started_at=now, is_drained=True)
    found = {finding.part: (finding.level, finding.message) for finding in check_workers()}
    assert found == {
        "queue cpu": (Level.OK, "1 of 1 workers are ready"),
        "queue gpu": (Level.WARNING, "no worker is ready (drained)"),
        "queue hooks": (Level.OK, "1 of 1 workers are ready"),
    }


@pytest.mark.parametrize(
    ("url", "behind_tls", "levels"),
    [
        ("https://paint.example.org", True, [Level.OK, Level.OK]),
        ("http://paint.example.org", True, [Level.OK, Level.ERROR]),
        ("https://paint.example.org", False, [Level.OK, Level.ERROR]),
        ("https://another.example.org", True, [Level.ERROR, Level.OK]),
        ("", False, [Level.WARNING, Level.WARNING]),
    ],
)
def test_address_hosts_and_tls_belong_together(settings: Any, url: str, behind_tls: bool, levels: list[Level]) -> None:
    settings.SITE_URL, settings.BEHIND_TLS, settings.ALLOWED_HOSTS = url, behind_tls, ["paint.example.org"]
    assert [finding.level for finding in check_addresses()] == levels
