"""Times of two sides, taken in turn, and the line that is printed of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.turns import Figure, Sample, in_turns

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Report:
    """Where the rows go. repeats: how often each is measured, after one round that only warms up."""

    repeats: int
    file: Path | None = None

    def heading(self) -> None:
        print(
            f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start; milliseconds\n\n"
            "| row | what; its baseline | ours: median | least | spread "
            "| baseline: median | least | spread | ratio | load |\n"
            "|---|---|---|---|---|---|---|---|---|---|",
            flush=True,
        )

    def row(self, row: str, name: str, ours: Figure, baseline: Figure | None, what: str = "") -> None:
        """Seconds of both sides; `what` names the baseline."""
        mine, theirs = summary(ours), summary(baseline) if baseline else "- | - | -"
        ratio = f"{baseline.median / ours.median:.2f}" if baseline else "-"
        load = os.getloadavg()[0]
        print(f"| {row} | {name}{'; ' + what if what else ''} | {mine} | {theirs} | {ratio} | {load:.1f} |", flush=True)
        if self.file:
            values = {"ours": ours.values, "baseline": baseline.values if baseline else None}
            line = {"row": row, "name": name, **values, "is": what, "load": load}
            with self.file.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def contest(
        self,
        row: str,
        name: str,
        ours: Callable[[], object],
        baseline: Callable[[], object] | None,
        what: str = "",
        *,
        processors: tuple[Clock, Clock] | None = None,
    ) -> None:
        """Measure one row, the two sides in turn, so that load from outside affects both.

        processors: how many processor seconds each side has used so far; printed as a row of its own.
        """
        sides = {"ours": ours} | ({"baseline": baseline} if baseline else {})
        clocks = dict(zip(sides, processors or (), strict=False))
        measures = {name: partial(sample, call, clocks.get(name, lambda: 0.0)) for name, call in sides.items()}
        in_turns(measures, repeats=1)
        found = in_turns(measures, repeats=self.repeats)
        self.row(row, name, found["ours"], found.get("baseline"), what)
        if processors is not None:
            busy = {side: Figure(figure.busy) for side, figure in found.items()}
            self.row(row, f"{name}, processor time", busy["ours"], busy.get("baseline"), what)


def sample(call: Callable[[], object], processor_seconds: Clock) -> Sample:
    busy = processor_seconds()
    return Sample(timed(call), processor_seconds() - busy)


def figure(seconds: Iterable[float]) -> Figure:
    return Figure(tuple(seconds))


def summary(figure: Figure) -> str:
    return " | ".join(f"{seconds * 1e3:.2f}" for seconds in (figure.median, figure.least, figure.spread))


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def at_once(callers: int, call: Callable[[], object]) -> None:
    with ThreadPoolExecutor(callers) as threads:
        for done in [threads.submit(call) for _ in range(callers)]:
            done.result()
