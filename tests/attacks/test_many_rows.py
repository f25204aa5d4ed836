"""A user with 100,000 generations searches and lists from many programs at once: others do not notice."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import quote

import pytest

from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

ROWS, PROGRAMS = 100_000, 8
PATHS = [
    "/api/generations/",
    "/api/generations/?limit=1000000&offset=99000",
    "/api/generations/?prompt=nowhere",
    "/api/generations/?prompt=word",
    f"/api/generations/?prompt={quote('%_%' * 30)}",
    "/api/generations/?prompt=" + "+".join("a" for _ in range(2000)),
    "/api/generations/?status=failed",
    "/api/usage/",
]
SECONDS_EACH, EXTRA_MEMORY, PAGE_SECONDS = 30, 250 * MB, 6.0


def multiply(server: Installation, rows: int) -> None:
    """Copy the only generation until there are so many, each with a prompt of its own."""
    with closing(sqlite3.connect(server.folder / "dreamlayer.sqlite3", timeout=60)) as database, database:
        names = [name for _, name, *_ in database.execute("PRAGMA table_info(inpainting_generation)")]
        new = {
            "id": "lower(hex(randomblob(16)))",
            "number": "NULL",
            "settings": "json_set(settings, '$.prompt', 'word' || (n % 2000) || ' lawn ' || hex(randomblob(20)))",
            "created_at": "datetime('now', '-' || n || ' seconds')",
        }
        values = ", ".join(new.get(name, f'"{name}"') for name in names)
        columns = ", ".join(f'"{name}"' for name in names)
        database.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "  # noqa: S608
            f"INSERT INTO inpainting_generation ({columns}) "
            f"SELECT {values} FROM numbers, (SELECT * FROM inpainting_generation LIMIT 1)",
            [rows - 1],
        )


def test_searches_of_many_rows_are_answered_and_delay_no_page(
    server: Installation, server_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    assert server.img2img(server_key, photo_png, mask_png)[0] == 200
    multiply(server, ROWS)

    def ask(path: str) -> tuple[str, int, float]:
        started = time.monotonic()
        status, _ = server.get(path, key=server_key)
        return path[:60], status, time.monotonic() - started

    with Measurement(server) as measured, ThreadPoolExecutor(PROGRAMS) as pool:
        answers = list(pool.map(ask, PATHS * 4))
    for path, status, seconds in sorted(answers, key=lambda answer: -answer[2])[:8]:
        print(f"{seconds:.2f} s: {status} {path}")
    assert {status for _, status, _ in answers} <= {200, 400, 429}
    assert [status for path, status, _ in answers if path == PATHS[0]] == [200] * 4
    assert max(seconds for _, _, seconds in answers) < SECONDS_EACH
    assert measured.extra_memory < EXTRA_MEMORY
    assert measured.slowest_page < PAGE_SECONDS
