"""What one owner's requests take with 1,000 generations and with 1,000,000 of them, on SQLite and PostgreSQL.

    python -m benchmarks.growth [--database sqlite] [--rows 1000,1000000] [--repeats 7]

Without --database, both, each in a process of its own. Through the views, without a server; the rows are made by SQL,
each generation with a source image, a mask and a result, five of them in each edit tree. Prompts are of six words of
2,000; the rare word is in ten of them, the frequent one in a quarter. Prints a markdown table of milliseconds: the
median at each number of rows, and the ratio of the medians.
"""

# ruff: noqa: E402, S608 - models are imported after django.setup; the SQL has names of ours

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

if "postgresql" in sys.argv:
    os.environ["DREAMLAYER_TEST_POSTGRES"] = "1"
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # a data folder, and a server, of this run alone

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, User
from inpainting.models import GeneratedImage, Generation, Mask, SourceImage

RARE, FREQUENT, ABSENT = "zebracrossing", "lawn", "nowhere"
PATHS = {
    "history, first page": "/history/",
    "history, a rare word": f"/history/?text={RARE}",
    "history, a frequent word": f"/history/?text={FREQUENT}",
    "history, an absent word": f"/history/?text={ABSENT}",
    "history, two words, one of them absent": f"/history/?text={FREQUENT}+{ABSENT}",
    "history, two absent letters": "/history/?text=qx",
    "storage": "/storage/",
    "account": "/account/",
    "API: list": "/api/generations/",
    "API: a rare word": f"/api/generations/?prompt={RARE}",
    "API: an absent word": f"/api/generations/?prompt={ABSENT}",
    "API: usage": "/api/usage/",
    "admin: dashboard": "/admin/",
    "admin: usage": "/admin/usage/",
    "admin: review": "/admin/inpainting/generation/",
    "admin: review, a rare word": f"/admin/inpainting/generation/?q={RARE}",
    "admin: review, a frequent word": f"/admin/inpainting/generation/?q={FREQUENT}",
    "admin: review, an absent word": f"/admin/inpainting/generation/?q={ABSENT}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--rows", default="1000,1000000")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if options.database is None:
        for database in ("sqlite", "postgresql"):
            command = [sys.executable, "-m", "benchmarks.growth", "--database", database]
            more = ["--rows", options.rows, "--repeats", str(options.repeats)]
            subprocess.run([*command, *more], check=True, cwd=Path(__file__).parent.parent)
        return
    call_command("migrate", verbosity=0)
    owner = User.objects.create_superuser("boss@example.com")
    client = Client(headers={"host": "localhost"})
    client.force_login(owner)
    program = Client(headers={"host": "localhost", "x-api-key": ApiKey.issue(owner)[1]})
    found: dict[str, list[float]] = {name: [] for name in PATHS}
    sizes = [int(size) for size in options.rows.split(",")]
    filled = 0
    for size in sizes:
        fill(owner, filled, size)
        filled = size
        for name, path in PATHS.items():
            requester = program if path.startswith("/api/") else client
            milliseconds(requester, path)  # fills caches of the process
            times = [milliseconds(requester, path) for _ in range(options.repeats)]
            found[name].append(statistics.median(times))
    load = os.getloadavg()[0]
    print(f"\n{options.database}, medians of {options.repeats} in ms, load {load:.1f}\n")
    print(f"| request | {' | '.join(f'{size:,} rows' for size in sizes)} | ratio |\n|---|{'---|' * len(sizes)}---|")
    for name, medians in found.items():
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in medians)} | {medians[-1] / medians[0]:.1f} |")


def milliseconds(client: Client, path: str) -> float:
    started = time.perf_counter()
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return 1000 * (time.perf_counter() - started)


def fill(owner: User, start: int, end: int) -> None:
    """Make the generations with these numbers by copying one, and what they refer to, by INSERT … SELECT."""
    if start == 0:
        facts = {"owner": owner, "byte_count": 1000, "width": 512, "height": 512, "sha256": "0" * 64}
        source, mask = SourceImage.objects.create(**facts, name="photo.png"), Mask.objects.create(**facts)
        settings = {"num_images": 1, "steps": None, "seed": 5, "negative_prompt": "", "prompt": "first", "model": None}
        now, ended = timezone.now(), {"status": "succeeded", "number": None}
        generation = Generation(owner=owner, source=source, mask=mask, engine="quick-fill", settings=settings, **ended)
        generation.started_at = generation.finished_at = now
        generation.fold()
        generation.save(force_insert=True)
        about = {"index": 0, "outside_mask_changed_pixels": 0, "seam_score": 0.0, "width": 512, "height": 512}
        GeneratedImage.objects.create(generation=generation, byte_count=2000, **about)
        start = 1
    for first in range(start, end, 50_000):
        copy_rows(first, min(first + 50_000, end), end)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def copy_rows(start: int, end: int, total: int) -> None:
    sqlite = connection.vendor == "sqlite"
    numbers = (
        f"WITH RECURSIVE n(n) AS (SELECT {start} UNION ALL SELECT n + 1 FROM n WHERE n < {end - 1})"
        if sqlite
        else f"WITH n AS (SELECT generate_series({start}, {end - 1}) AS n)"
    )
    words = [f"'word' || ((n * {factor}) % 2000)" for factor in (1, 7, 13, 101, 523, 997)]
    prompt = " || ' ' || ".join(words)
    prompt += f" || CASE WHEN n % 4 = 0 THEN ' {FREQUENT}' ELSE '' END"
    prompt += f" || CASE WHEN n % {max(1, total // 10)} = 1 THEN ' {RARE}' ELSE '' END"

    def key(kind: str, number: str = "n") -> str:
        """A UUID of a kind of row and its number."""
        return f"printf('{kind}%031x', {number})" if sqlite else f"('{kind}' || lpad(to_hex({number}), 31, '0'))::uuid"

    at = (
        "strftime('%Y-%m-%d %H:%M:%f', 'now', '-400 days', '+' || (n * 30) || ' seconds')"
        if sqlite
        else "now() - interval '400 days' + n * interval '30 seconds'"
    )
    setting = (
        f"json_set(g.settings, '$.prompt', {prompt})"
        if sqlite
        else f"jsonb_set(g.settings, '{{prompt}}', to_jsonb({prompt}))"
    )
    root = f"CASE WHEN n % 5 = 0 THEN NULL ELSE {key('a', '(n - n % 5)')} END"
    changes: dict[type, dict[str, str]] = {
        SourceImage: {"id": key("b"), "created_at": at},
        Mask: {"id": key("c"), "created_at": at},
        Generation: {
            **{"id": key("a"), "source_id": key("b"), "mask_id": key("c"), "root": root, "settings": setting},
            **{"folded_prompt": prompt, "created_at": at, "started_at": at, "finished_at": at},
        },
        GeneratedImage: {"id": key("d"), "generation_id": key("a"), "created_at": at},
    }
    with connection.cursor() as cursor:
        for model, values in changes.items():
            meta = model._meta  # type: ignore[attr-defined]  # they are models
            columns = [field.column for field in meta.concrete_fields]
            quoted = ", ".join(f'"{name}"' for name in columns)
            selected = ", ".join(values.get(name, f'g."{name}"') for name in columns)
            source = f"(SELECT * FROM {meta.db_table} ORDER BY created_at DESC LIMIT 1)"
            cursor.execute(
                f"{numbers} INSERT INTO {meta.db_table} ({quoted}) SELECT {selected} FROM n, {source} AS g".replace(
                    "%", "%%"
                ),
                [],
            )


if __name__ == "__main__":
    main()
