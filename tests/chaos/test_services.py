"""The serving process is killed while programs of each service wait for their results.

They repeat what was not answered with the same Idempotency-Key: every program gets its own result, and every request
was painted once.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.service_clients import CALLS, Caller

pytestmark = pytest.mark.chaos

CALLERS, KILLS = 10, 2
MOMENTS = ("accept before", "accept after", "commit after")
"""Fail points that the kills while a generation runs do not reach."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(
        tmp_path_factory.mktemp("killed"),
        DJANGO_SETTINGS_MODULE="tests.chaos.settings",
        DREAMLAYER_LEASE_SECONDS="2",
        DREAMLAYER_WORKERS="1",
    )
    installation.migrate()
    with installation.serving():
        yield installation


@pytest.fixture(scope="module")
def key(installation: Installation) -> str:
    return installation.manage("create_api_key", "alice@example.com", "--create-user").strip()


def count(folder: Path, where: str = "") -> int:
    with closing(sqlite3.connect(folder / "dreamlayer.sqlite3", timeout=20)) as database:
        query = f"SELECT count(*) FROM inpainting_generation {where}"  # noqa: S608 - our own text
        return int(database.execute(query).fetchone()[0])


def kill_child(installation: Installation) -> None:
    """Kill the serving process; return when another one serves."""
    assert installation.process is not None
    parent = installation.process.pid
    children = installation.children_of(parent)
    for child in children:
        os.kill(child, signal.SIGKILL)
    installation.wait_until(lambda: installation.children_of(parent) not in ([], children))
    installation.wait_until(lambda: installation.get("/readyz")[0] == 200)


@pytest.mark.parametrize("name", CALLS)
def test_every_request_of_a_killed_server_is_painted_once(installation: Installation, key: str, name: str) -> None:
    folder, call = installation.folder, CALLS[name]
    before = count(folder)
    callers = [Caller(installation.url, key, number, run=name) for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        results = [pool.submit(call, caller) for caller in callers]
        for _ in range(KILLS):
            installation.wait_until(lambda: count(folder, "WHERE status = 'running'"))
            kill_child(installation)
        own = [caller.has_own_result(result.result()) for caller, result in zip(callers, results, strict=True)]
    assert own == [True] * CALLERS
    assert count(folder) == before + CALLERS
    assert count(folder, "WHERE status != 'succeeded'") == 0
    with closing(sqlite3.connect(folder / "dreamlayer.sqlite3", timeout=20)) as database:
        (images,) = database.execute("SELECT count(*) FROM inpainting_generatedimage").fetchone()
    assert images == before + CALLERS


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", [name for name in CALLS if "polling" not in name])
def test_a_request_is_painted_once_where_its_acceptance_or_its_end_is_not_answered(
    installation: Installation, key: str, name: str, moment: str
) -> None:
    armed, before = installation.folder / "fail-point", count(installation.folder)
    armed.write_text(moment)
    caller = Caller(installation.url, key, number=1, run=f"{name} {moment}")
    assert caller.has_own_result(CALLS[name](caller))
    assert not armed.exists(), "the server was not killed"
    assert count(installation.folder) == before + 1
    assert count(installation.folder, "WHERE status != 'succeeded'") == 0
