"""What many workers ask of one PostgreSQL: claims, leases, heartbeats and idle polls of 10, 100 and 1,000 of them.

    python -m benchmarks.capacity [--workers 10 100 1000] [--at-once 1] [--painting 10] [--seconds 30]

A few processes make the queries of all workers, by the functions that workers call, and paint nothing: each generation
ends after about `--painting` seconds, one in twenty after five times as many. One generation in a hundred is lost with
its worker, and another one continues it when its lease expires. The queue never gets empty but for a tenth of the
workers, which have other queues and poll. `--at-once`: the generations of a worker, as of one with step batches.

PostgreSQL is started for the run. Beside its processor time stands that of the processes that ask: on one machine they
share its processors, and where the queries come late the columns say by how much. Prints a markdown table.
"""

# ruff: noqa: E402 - models are imported after django.setup

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import django
import numpy as np
import psutil
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

os.environ["DREAMLAYER_TEST_POSTGRES"] = "1"
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # a data folder, and a server, of this run alone
django.setup()

from django.conf import settings

from benchmarks.fair_queue import ended_of_each_owner, fill_history, fill_queue
from inpainting.database.row_counts import count_each
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status, Worker
from inpainting.worker.capabilities import find_capabilities
from inpainting.worker.poller import IDLE_POLL_SECONDS, abandoned, return_abandoned
from inpainting.worker.queue.fair_queue import start_next, startable_in

OWNERS, PROCESSES = 100, 8
BEAT_EVERY, STEP_EVERY, LEASE_SECONDS = 10.0, 1.0, 15
SLOW, SLOW_TIMES, LOST, IDLE = 0.05, 5, 0.01, 0.1
"""Shares of the generations and of the workers."""


@dataclass(slots=True)
class Figures:
    """Of one process. claims, late: in seconds."""

    claims: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    empty: int = 0
    ended: int = 0
    returned: int = 0
    processor: float = 0.0


class Workers:
    """Makes the queries of some workers, each when it is due."""

    def __init__(self, numbers: range, *, at_once: int, painting: float) -> None:
        self.painting, self.figures, self._order = painting, Figures(), count()
        self._random = random.Random(numbers.start)  # noqa: S311 - no secret
        self._due: list[tuple[float, int, Iterator[float]]] = []
        for number in numbers:
            self._add(self._beats(number))
            slots = 0 if self._random.random() < IDLE else at_once
            for _ in range(slots):
                self._add(self._slot())
            if not slots:
                self._add(self._polls())

    def run(self, seconds: float) -> Figures:
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            due, _, work = self._due[0]
            if due > now:
                time.sleep(min(due, start + seconds) - now)
                continue
            heapq.heappop(self._due)
            self.figures.late.append(now - due)
            self._put(due + next(work), work)
        self.figures.processor = time.process_time()
        return self.figures

    def _add(self, work: Iterator[float]) -> None:
        self._put(time.monotonic() + self._random.uniform(0, self.painting), work)

    def _put(self, due: float, work: Iterator[float]) -> None:
        heapq.heappush(self._due, (due, next(self._order), work))

    # What workers do. Each yields the seconds until it goes on.

    def _beats(self, number: int) -> Iterator[float]:
        while True:
            find_capabilities()
            Worker.objects.filter(name=f"worker-{number}").update(seen_at=Now())
            yield BEAT_EVERY

    def _polls(self) -> Iterator[float]:
        while True:
            queries = [
                *(startable_in(queue)[:1] for queue in (Queue.GPU, Queue.ANALYSIS)),
                *(rows[:1] for rows in abandoned()),
            ]
            if any(count_each(queries)):
                self.figures.returned += return_abandoned()
            yield IDLE_POLL_SECONDS

    def _slot(self) -> Iterator[float]:
        while True:
            start = time.perf_counter()
            work = start_next(Queue.CPU)
            self.figures.claims.append(time.perf_counter() - start)
            if work is None:
                self.figures.empty += 1
                yield IDLE_POLL_SECONDS
                continue
            seconds = (
                self.painting * self._random.uniform(0.5, 1.5) * (SLOW_TIMES if self._random.random() < SLOW else 1)
            )
            steps = round(seconds / STEP_EVERY)
            lost_at = self._random.randrange(steps) if self._random.random() < LOST else None
            for step in range(steps):
                yield STEP_EVERY
                if step == lost_at:
                    break
                work.advance(step + 1, steps, seconds_left=float(steps - step))
            else:
                self.figures.ended += work.succeed([])
            yield 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--painting", type=float, default=10.0)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    settings.IS_ALONE, settings.LEASE_SECONDS = False, LEASE_SECONDS
    call_command("migrate", verbosity=0)
    firsts = ended_of_each_owner() or fill_history(10_000, OWNERS)
    print(
        f"load {os.getloadavg()[0]:.1f}; {options.at_once} at once, {options.painting:g} s each, {options.seconds} s\n"
    )
    print(
        "| workers | claims a second (wanted) | claim, ms: median, 99 % | without work | late, ms: 99 % "
        "| transactions a second | processors: PostgreSQL, workers | continued |\n|---|---|---|---|---|---|---|---|"
    )
    for workers in options.workers:
        Generation.objects.filter(finished_at=None)._raw_delete("default")
        Worker.objects.all().delete()
        now = Now()
        Worker.objects.bulk_create(
            Worker(
                name=f"worker-{number}",
                parent=f"host-{number}",
                queues=["cpu"],
                cpu_slots=options.at_once,
                started_at=now,
                seen_at=now,
            )
            for number in range(workers)
        )
        wanted = workers * (1 - IDLE) * options.at_once / (options.painting * (1 + SLOW * (SLOW_TIMES - 1)))
        fill_queue(round(workers * options.at_once * 2 + wanted * options.seconds * 2), firsts)
        print(row(workers, wanted, options), flush=True)


def row(workers: int, wanted: float, options: argparse.Namespace) -> str:
    ended = Generation.objects.filter(status=Status.SUCCEEDED).count()
    before, busy_before = transactions(), postgres_seconds()
    each = -(-workers // PROCESSES)
    parts = [range(start, min(start + each, workers)) for start in range(0, workers, each)]
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL; not shared with the processes
    with multiprocessing.get_context("fork").Pool(len(parts)) as pool:
        found = pool.starmap(run_some, [(part, options.at_once, options.painting, options.seconds) for part in parts])
    busy, done = postgres_seconds() - busy_before, transactions() - before
    assert Generation.objects.filter(status=Status.SUCCEEDED).count() == ended + sum(some.ended for some in found)
    claims = [claim for some in found for claim in some.claims]
    late = [each for some in found for each in some.late]
    seconds = options.seconds
    return (
        f"| {workers:,} | {len(claims) / seconds:.1f} ({wanted:.1f}) "
        f"| {statistics.median(claims) * 1e3:.1f}, {np.percentile(claims, 99) * 1e3:.1f} "
        f"| {sum(some.empty for some in found)} "
        f"| {np.percentile(late, 99) * 1e3:.0f} | {done / seconds:.0f} "
        f"| {busy / seconds:.2f}, {sum(some.processor for some in found) / seconds:.2f} "
        f"| {sum(some.returned for some in found)} |"
    )


def run_some(numbers: range, at_once: int, painting: float, seconds: float) -> Figures:
    return Workers(numbers, at_once=at_once, painting=painting).run(seconds)


def transactions() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def postgres_seconds() -> float:
    """The processor time of PostgreSQL's processes, also of those that have ended."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
    server = backend.parent()
    assert server is not None
    of_ended = server.cpu_times()
    alive = (process.cpu_times() for process in server.children())
    return of_ended.children_user + of_ended.children_system + sum(times.user + times.system for times in alive)


if __name__ == "__main__":
    main()
