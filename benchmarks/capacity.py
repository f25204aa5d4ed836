"""A row of GPU workers under a day's arrivals, simulated with the queue's own code: waits, loads, SQL statements.

    python -m benchmarks.capacity [--workers 1 10 100 1000] [--models 6] [--owners 50] [--resident 1] [--load 0.6]

Time is simulated; each acceptance, claim and end is that of a server, on a SQLite database in a temporary folder.
Arrivals are a Poisson process whose rate has the shape of a day, and quadruples in bursts; its mean is --load of what
the workers could paint without loading a model. The day is compressed until --each generations a worker fill it. Owners
and models are drawn by Zipf's law: a few send most. A worker paints one generation at a time and keeps --resident
models; the least recently used one is evicted. Each row is simulated without and with the preference for loaded models.

Columns: seconds waited (median, 95th and 99th percentile), median of the busiest owner and of all others; the share of
generations that loaded a model first; SQL statements a second, progress included.
"""

# ruff: noqa: E402, S311 - models are imported after django.setup; random numbers for a simulation

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import os
import random
import statistics
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from uuid import UUID

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # a data folder, and a database, of this run alone
django.setup()

from django.core.management import call_command
from django.db import connection

from accounts.models import User
from inpainting.database import fair_tags
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Flow, Generation, Mask, SourceImage, VirtualTime
from inpainting.worker.fair_queue import start_next
from inpainting.worker.progress import PROGRESS_EVERY_SECONDS

STEPS, PIXELS = 25, 512 * 512
BURSTS, BURST_SHARE, BURST = 8, 0.02, 4
"""How many bursts a day has, the share of the day that each takes, and what the rate is multiplied by."""
PEAK = (1 + 2 / 3) * BURST
"""A bound of the rate over its mean."""


@dataclass(frozen=True)
class Sent:
    at: float
    owner: int
    model: str


@dataclass
class Worker:
    """loaded: slugs of models, the least recently used one first."""

    loaded: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def load(self, model: str, resident: int) -> bool:
        """Return whether the model had to be loaded."""
        missing = model not in self.loaded
        self.loaded[model] = None
        self.loaded.move_to_end(model)
        while len(self.loaded) > resident:
            self.loaded.popitem(last=False)
        return missing


@dataclass
class Outcome:
    waits: dict[int, list[float]] = field(default_factory=dict)
    """Owner -> the seconds that each generation waited."""
    loads: int = 0
    statements: int = 0
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--each", type=int, default=20, help="generations of each worker; at least 2,000 in all")
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--owners", type=int, default=50)
    parser.add_argument("--resident", type=int, default=1, help="models that a worker keeps")
    parser.add_argument("--step-seconds", type=float, default=0.08, help="one step of one image")
    parser.add_argument("--load-seconds", type=float, default=6.0, help="loading a model")
    parser.add_argument("--load", type=float, default=0.6, help="mean rate over what the workers could paint")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    owners = [User.objects.get_or_create(email=f"owner-{index}@example.com")[0] for index in range(options.owners)]
    print("| workers | prefers loaded | waited | busiest, others | loads | statements/s |\n|---|---|---|---|---|---|")
    for count in options.workers:
        for prefers_loaded in (False, True):
            outcome = Simulation(options, count, owners, prefers_loaded=prefers_loaded).run()
            print(f"| {count:,} | {'yes' if prefers_loaded else 'no'} | {columns(outcome)} |", flush=True)


class Simulation:
    """Workers of one site from the first arrival until the last end."""

    def __init__(self, options: argparse.Namespace, count: int, owners: list[User], *, prefers_loaded: bool) -> None:
        self.options, self.owners, self.prefers_loaded = options, owners, prefers_loaded
        self.random = random.Random(options.seed)
        self.idle = [Worker() for _ in range(count)]
        self.painting: list[tuple[float, int, Worker, Generation]] = []
        """A heap: when it ends, a number that breaks ties, and what ends."""
        self.numbers = itertools.count()
        self.sent_at: dict[UUID, float] = {}
        self.outcome = Outcome()
        self.claiming = self.idle[0]
        rate = options.load * count / (STEPS * options.step_seconds)
        self.arrivals = arrivals(self.random, max(2000, options.each * count), rate, options)

    def run(self) -> Outcome:
        for model in (Generation, Flow, VirtualTime):
            model._default_manager.all()._raw_delete("default")
        with connection.execute_wrapper(self.count), mock.patch.object(registry, "loaded_models", self.loaded_models):
            for sent in self.arrivals:
                self.end_until(sent.at)
                self.accept(sent)
                self.claim(sent.at)
            self.end_until(math.inf)
        # Waiting generations write nothing; painting ones record their steps.
        painted = len(self.sent_at) * STEPS * self.options.step_seconds
        self.outcome.statements += int(painted / PROGRESS_EVERY_SECONDS)
        return self.outcome

    def count(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.outcome.statements += 1
        return execute(*arguments)

    def loaded_models(self, queue: Queue) -> Collection[str]:
        return self.claiming.loaded if self.prefers_loaded else ()

    def accept(self, sent: Sent) -> None:
        owner = self.owners[sent.owner]
        facts = {"owner": owner, "byte_count": 1, "width": 512, "height": 512}
        settings = {"num_images": 1, "steps": STEPS, "model": sent.model}
        generation = Generation(owner=owner, source=SourceImage(**facts), mask=Mask(**facts), engine="diffusion")
        generation.settings, generation.cost = settings, fair_tags.cost_of(PIXELS, images=1, steps=STEPS)
        generation.save_new()
        self.sent_at[generation.pk] = sent.at

    def claim(self, now: float) -> None:
        """Let idle workers look for work, in any order."""
        self.random.shuffle(self.idle)
        while self.idle:
            self.claiming = self.idle[-1]
            generation = start_next(Queue.GPU)
            if generation is None:
                return
            worker = self.idle.pop()
            must_load = worker.load(generation.settings["model"], self.options.resident)
            self.outcome.loads += must_load
            self.outcome.waits.setdefault(generation.owner_id, []).append(now - self.sent_at[generation.pk])
            seconds = STEPS * self.options.step_seconds + must_load * self.options.load_seconds
            heapq.heappush(self.painting, (now + seconds, next(self.numbers), worker, generation))

    def end_until(self, now: float) -> None:
        while self.painting and self.painting[0][0] <= now:
            self.outcome.seconds, _, worker, generation = heapq.heappop(self.painting)
            generation.succeed([])
            self.idle.append(worker)
            self.claim(self.outcome.seconds)


def arrivals(numbers: random.Random, count: int, rate: float, options: argparse.Namespace) -> Iterator[Sent]:
    """`count` arrivals at `rate` a second on average, by thinning (Lewis and Shedler 1979)."""
    day = count / rate
    bursts = [numbers.uniform(0, day) for _ in range(BURSTS)]
    length = BURST_SHARE * day
    mean = 1 + (BURST - 1) * BURSTS * BURST_SHARE
    at = 0.0
    for _ in range(count):
        while True:
            at += numbers.expovariate(rate * PEAK)
            in_burst = any(begin <= at % day < begin + length for begin in bursts)
            wanted = (1 - 2 / 3 * math.cos(2 * math.pi * at / day)) * (BURST if in_burst else 1) / mean
            if numbers.random() < wanted / PEAK:
                break
        yield Sent(at, zipf(numbers, options.owners), f"model-{zipf(numbers, options.models)}")


def zipf(numbers: random.Random, count: int) -> int:
    """A number below `count`; number n is drawn with a probability proportional to 1 / (n + 1)."""
    (drawn,) = numbers.choices(range(count), [1 / (n + 1) for n in range(count)])
    return drawn


def columns(outcome: Outcome) -> str:
    waits = sorted(wait for some in outcome.waits.values() for wait in some)
    marks = ", ".join(f"{waits[int(share * (len(waits) - 1))]:.1f}" for share in (0.5, 0.95, 0.99))
    by_count = sorted(outcome.waits.values(), key=len)
    others = [wait for some in by_count[:-1] for wait in some]
    owners = f"{statistics.median(by_count[-1]):.1f}, {statistics.median(others):.1f}"
    return f"{marks} | {owners} | {outcome.loads / len(waits):.0%} | {outcome.statements / outcome.seconds:,.0f}"


if __name__ == "__main__":
    main()
