"""The history of one user with 100,000 generations: pages, filters and searches, and the same through the API.

    python -m benchmarks.history [--database postgresql] [--rows 100000] [--repeats 5]

Through the views, without a server, on a SQLite database in a temporary folder or on a PostgreSQL server that is
started for the run. Prompts are 12 of 2,000 words each; the rare word is in ten of them, the frequent one in a quarter.
Prints a markdown table of milliseconds.
"""

# ruff: noqa: E402 - models are imported after django.setup

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import django
from django.core.management import call_command

if "postgresql" in sys.argv:
    os.environ["DREAMLAYER_TEST_POSTGRES"] = "1"
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # a data folder, and a server, of this run alone
django.setup()

from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, User
from inpainting.models import Generation, Mask, SourceImage, Status

WORDS, WORDS_EACH = 2_000, 12
RARE, FREQUENT, ABSENT = "zebracrossing", "lawn", "nowhere"
PATHS = {
    "first page": "/history/",
    "page 100": "/history/?page=100",
    "last page": "/history/?page=1000000",
    "failed ones": "/history/?status=failed",
    "a rare word": f"/history/?text={RARE}",
    "a frequent word": f"/history/?text={FREQUENT}",
    "two words, one of them absent": f"/history/?text={FREQUENT}+{ABSENT}",
    "150 words": "/history/?text=" + "+".join("a" for _ in range(150)),
    "API: first page": "/api/generations/",
    "API: a rare word": f"/api/generations/?prompt={RARE}",
    "API: an absent word": f"/api/generations/?prompt={ABSENT}",
    "review: first page": "/admin/inpainting/generation/",
    "review: a rare word": f"/admin/inpainting/generation/?q={RARE}",
    "review: an absent word": f"/admin/inpainting/generation/?q={ABSENT}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    owner = User.objects.create_superuser("boss@example.com")
    fill(owner, options.rows)
    client = Client(headers={"host": "localhost"})
    client.force_login(owner)
    program = Client(headers={"host": "localhost", "x-api-key": ApiKey.issue(owner)[1]})
    print(f"{options.rows:,} generations of one user, {options.database}, load {os.getloadavg()[0]:.1f}\n")
    print("| request | median ms | slowest ms |\n|---|---|---|")
    for name, path in PATHS.items():
        times = [milliseconds(program if path.startswith("/api/") else client, path) for _ in range(options.repeats)]
        print(f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} |", flush=True)


def milliseconds(client: Client, path: str) -> float:
    started = time.perf_counter()
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return 1000 * (time.perf_counter() - started)


def fill(owner: User, rows: int) -> None:
    facts = {"owner": owner, "byte_count": 1000, "width": 512, "height": 512}
    images = {"source": SourceImage.objects.create(**facts, name="photo.png"), "mask": Mask.objects.create(**facts)}
    now = timezone.now()
    made: list[Generation] = []
    for number, prompt in enumerate(prompts(rows)):
        status = Status.FAILED if number % 50 == 0 else Status.SUCCEEDED
        at = now - timedelta(seconds=rows - number)
        settings = {"num_images": 1, "steps": None, "seed": 5, "negative_prompt": "", "prompt": prompt}
        ended = {"status": status, "started_at": at, "finished_at": at, "number": None}
        made.append(Generation(owner=owner, **images, **ended, engine="quick-fill", settings=settings))
        if len(made) == 2_000 or number == rows - 1:
            Generation.objects.bulk_create(made)
            made.clear()


def prompts(rows: int) -> Iterator[str]:
    chance = random.Random(7)  # noqa: S311 - the same every time
    words = [f"word{number}" for number in range(WORDS)]
    for number in range(rows):
        more = [FREQUENT] if number % 4 == 0 else []
        more += [RARE] if number % max(1, rows // 10) == 0 else []
        yield " ".join([*chance.choices(words, k=WORDS_EACH), *more])


if __name__ == "__main__":
    main()
