"""The fair queue with 10, 1,000 and 100,000 waiting beside a million ended generations: claim, position, a new slot,
and a scrape of the metrics. The last 99,000 come after the last ANALYZE, as in a queue that grows quickly.

    python -m benchmarks.fair_queue [--database postgresql] [--rows 1000000] [--owners 100] [--repeats 30]

Beside them the plain round robin of earlier releases, which reads every waiting row. The ratio is the processor time
with the most waiting over that with the fewest; that of PostgreSQL's process for the connection counts. On a SQLite
database in a temporary folder, or a PostgreSQL server that is started for the run; a database of an earlier run is used
again, by DREAMLAYER_DATABASE_URL. Prints a markdown table, and how the database finds the rows of each query.
"""

# ruff: noqa: E402 - models are imported after django.setup

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

if "postgresql" in sys.argv:
    os.environ["DREAMLAYER_TEST_POSTGRES"] = "1"
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # a data folder, and a server, of this run alone
django.setup()

from accounts.models import User
from inpainting.database import fair_tags
from inpainting.engines.base import Queue
from inpainting.models import Flow, Generation, Mask, SourceImage, Status, VirtualTime
from inpainting.worker.queue.fair_queue import start_next
from inpainting.worker.queue.queue_metrics import QueueCollector
from inpainting.worker.run_time_estimates import queue_position
from tests.worker.round_robin import round_robin_in

WAITING = (10, 1_000, 100_000)
COST = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rows", type=int, default=1_000_000, help="ended generations")
    parser.add_argument("--owners", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    Generation.objects.filter(finished_at=None)._raw_delete("default")
    firsts = ended_of_each_owner() or fill_history(options.rows, options.owners)
    took: dict[str, list[str]] = {}
    for waiting in WAITING:
        fill_queue(waiting, firsts)
        # A queue grows by much before autovacuum counts again: the longest one is measured by the counts of the others.
        if waiting < WAITING[-1]:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        for name, (call, undo, repeats) in calls(options.repeats).items():
            took.setdefault(name, []).append(timed(call, undo, repeats))
    about = f"{connection.vendor}, {options.rows} ended generations, {options.owners} owners"
    print(
        f"{about}; load {os.getloadavg()[0]:.1f}. Milliseconds of processor time: median, minimum; then by the clock\n"
    )
    print("| | " + " | ".join(f"{waiting:,} waiting" for waiting in WAITING) + " | ratio of the medians, minima |")
    print("|---|" + "---|" * (len(WAITING) + 1))
    for name, each in took.items():
        few, many = ([float(number) for number in text.split("; ")[0].split(", ")] for text in (each[0], each[-1]))
        print(f"| {name} | " + " | ".join(each) + f" | {many[0] / few[0]:.1f}, {many[1] / few[1]:.1f} |")
    for name, (call, undo, _) in calls(1).items():
        if "round robin" not in name:
            print(f"\n{name}:\n  " + "\n  ".join(plans_of(call)))
            undo()


def calls(repeats: int) -> dict[str, tuple[Callable[[], object], Callable[[], object], int]]:
    """What is measured: a call, what undoes it, and how often."""
    waiting = Generation.objects.filter(finished_at=None)
    last = waiting.order_by("-start_tag", "-created_at", "-id")[0]
    return {
        "claim the next": (start_next, release_all, repeats),
        "claim the next, plain round robin": (lambda: next(round_robin_in(Queue.CPU)), release_all, 3),
        "position of the last": (partial(queue_position, last), release_all, repeats),
        "position of the last, plain round robin": (lambda: list(round_robin_in(Queue.CPU))[-1], release_all, 3),
        "slot of a new one": (partial(take_slot_of, last), release_all, repeats),
        "scrape of the metrics": (lambda: list(QueueCollector().collect()), release_all, repeats),
    }


def release_all() -> None:
    for generation in Generation.running_here():
        generation.release()


def timed(call: Callable[[], object], undo: Callable[[], object], repeats: int) -> str:
    """The median and the minimum of the processor time and by the clock, after one call that only warms up."""
    busy, passed = [], []
    for _ in range(repeats + 1):
        start, busy_before = time.perf_counter(), processor_seconds()
        call()
        busy.append(processor_seconds() - busy_before)
        passed.append(time.perf_counter() - start)
        undo()
    each = (f"{statistics.median(some[1:]) * 1e3:.2f}, {min(some[1:]) * 1e3:.2f}" for some in (busy, passed))
    return "; ".join(each)


def processor_seconds() -> float:
    """Used so far by this thread, and by the process of PostgreSQL that serves its connection."""
    seconds = time.thread_time()
    if connection.vendor == "postgresql":
        backend = connection.connection.info.backend_pid
        seconds += int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1e9
    return seconds


def take_slot_of(generation: Generation) -> None:
    with transaction.atomic():
        fair_tags.take_slot(generation, weight=1, in_batch=False)


def plans_of(call: Callable[[], object]) -> list[str]:
    """How the database finds the generations in each query of a call."""
    with CaptureQueriesContext(connection) as queries:
        call()
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    lines = []
    with transaction.atomic(), connection.cursor() as cursor:
        for query in queries:
            if query["sql"].startswith("SET LOCAL"):
                cursor.execute(query["sql"])
            elif query["sql"].startswith(("SELECT", "UPDATE")):
                cursor.execute(f"{explain} {query['sql']}")
                lines += [str(row[-1]).strip() for row in cursor.fetchall()]
    return [line for line in lines if line.startswith(("SEARCH", "SCAN", "USE", "->", "Index", "Sort", "Limit"))]


def fill_history(rows: int, count: int) -> list[Generation]:
    """Make ended generations, as many for each owner. Returns one of each owner."""
    users = User.objects.bulk_create([User(email=f"user-{number}@example.com") for number in range(count)])
    now, firsts = timezone.now(), []
    for owner in users:
        facts = {"owner": owner, "byte_count": 1000, "width": 512, "height": 512}
        common = {"owner": owner, "source": SourceImage.objects.create(**facts), "mask": Mask.objects.create(**facts)}
        settings = {"num_images": 1, "steps": None, "prompt": ""}
        ended = {"status": Status.SUCCEEDED, "started_at": now, "finished_at": now}
        firsts.append(Generation(**common, **ended, engine="quick-fill", settings=settings, number=None))
    Generation.objects.bulk_create(firsts)
    made = count
    while made < rows:
        made += copy_rows(min(made, rows - made))
    return firsts


def ended_of_each_owner() -> list[Generation]:
    """Of an earlier run: one ended generation of each owner."""
    owners = User.objects.filter(email__startswith="user-").order_by("pk")
    return [Generation.objects.filter(owner=owner)[0] for owner in owners]


def fill_queue(waiting: int, firsts: list[Generation]) -> None:
    """Make that many generations wait, in rounds of one of each owner."""
    VirtualTime.objects.get_or_create(queue="cpu")
    made = Generation.objects.filter(finished_at=None).count()
    while made < waiting:
        number, after = divmod(made, len(firsts))
        some = firsts[after : after + waiting - made]
        tags = {"start_tag": number * COST, "finish_tag": (number + 1) * COST, "likely_seconds": 2.0}
        state = {"status": "queued", "started_at": None, "finished_at": None, "created_at": timezone.now()}
        made += copy_rows(len(some), [request.pk for request in some], **tags, **state)
        for one in some if number == (waiting - 1) // len(firsts) else ():
            ends = {"next_tag": tags["finish_tag"], "next_single_tag": tags["finish_tag"]}
            Flow.objects.update_or_create(owner_id=one.owner_id, queue="cpu", defaults=ends)


def copy_rows(number: int, pks: list[Any] | None = None, **changes: object) -> int:
    """Copy so many rows, or those with these keys, with other values in some columns. Returns their number."""
    fields = [field for field in Generation._meta.local_concrete_fields if field.name != "number"]
    random_id = "lower(hex(randomblob(16)))" if connection.vendor == "sqlite" else "gen_random_uuid()"
    columns = [f'"{field.column}"' for field in fields]
    values = [
        random_id if field.name == "id" else "%s" if field.name in changes else f'"{field.column}"' for field in fields
    ]
    parameters = [field.get_db_prep_save(changes[field.name], connection) for field in fields if field.name in changes]
    where = ""
    if pks is not None:
        where = f"WHERE id IN ({', '.join(['%s'] * len(pks))})"
        parameters += [Generation._meta.pk.get_db_prep_value(pk, connection) for pk in pks]
    into, of = ", ".join(columns), ", ".join(values)
    with connection.cursor() as cursor:
        cursor.execute(  # names from the schema, values as parameters
            f"INSERT INTO inpainting_generation ({into}) SELECT {of} FROM inpainting_generation {where} LIMIT {number}",  # noqa: S608
            parameters,
        )
    return number


if __name__ == "__main__":
    main()
