"""The wall clock of a serving process jumps by an hour, in both directions, while generations run and wait."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.faketime import Clock
from tests.support.installation import Installation

pytestmark = pytest.mark.chaos

HOUR = 3600
LEASE_SECONDS = 15
RUNNING = 2


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    """Its generations take some seconds."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "CHAOS_STEP_SECONDS": "1.5",
        "DREAMLAYER_WORKERS": str(RUNNING),
        "DREAMLAYER_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    installation = Installation(tmp_path / "data", **environment)
    installation.migrate_with_key()
    installation.environment |= clock.environment
    with installation.serving():
        yield installation


def row(site: Installation, query: str) -> tuple[object, ...]:
    with closing(sqlite3.connect(site.folder / "dreamlayer.sqlite3", timeout=20)) as database:
        found: tuple[object, ...] = database.execute(query).fetchone()
        return found


def count(site: Installation, condition: str) -> int:
    (number,) = row(site, f"SELECT count(*) FROM inpainting_generation WHERE {condition}")  # noqa: S608 - our own text
    return int(str(number))


def seconds_fast(site: Installation) -> float:
    """How far the clock of the server was fast when it accepted the last generation."""
    (accepted,) = row(site, "SELECT created_at FROM inpainting_generation ORDER BY rowid DESC LIMIT 1")
    return (datetime.fromisoformat(str(accepted)) - datetime.now(UTC).replace(tzinfo=None)).total_seconds()


@pytest.mark.parametrize("jumps", [(HOUR, 0), (-HOUR, 0)], ids=["forward-and-back", "back-and-forward"])
def test_a_jump_of_the_clock_loses_repeats_and_stops_nothing(
    site: Installation, clock: Clock, photo_png: bytes, mask_png: bytes, jumps: tuple[int, int]
) -> None:
    accepted = 0

    def submit(number: int) -> None:
        nonlocal accepted
        for _ in range(number):
            status, answer = site.img2img(site.key, photo_png, mask_png, prefer="respond-async")
            assert status == 202, answer
            accepted += 1

    submit(RUNNING + 1)
    for jump in jumps:
        site.wait_until(lambda: count(site, "status = 'running'") == RUNNING)
        clock.set(jump)
        submit(1)  # the key is still valid
        assert abs(seconds_fast(site) - jump) < 120, "the clock was not set"
    site.wait_until(lambda: count(site, "finished_at IS NOT NULL") == accepted)
    assert count(site, "status = 'succeeded' AND attempts = 1 AND fence = 1") == accepted, "each was started once"
    assert "no progress" not in site.log
