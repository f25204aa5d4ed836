"""Times of two sides, taken in turn, and the line that is printed of them."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

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

    def row(self, row: str, name: str, ours: list[float], baseline: list[float] | None, what: str = "") -> None:
        """Seconds of both sides; `what` names the baseline."""
        mine, theirs = summary(ours), summary(baseline) if baseline else "- | - | -"
        ratio = f"{statistics.median(baseline) / statistics.median(ours):.2f}" if baseline else "-"
        load = os.getloadavg()[0]
        print(f"| {row} | {name}{'; ' + what if what else ''} | {mine} | {theirs} | {ratio} | {load:.1f} |", flush=True)
        if self.file:
            line = {"row": row, "name": name, "ours": ours, "baseline": baseline, "is": what, "load": load}
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
        times = []
        for number in range(self.repeats + 1):
            started = [clock() for clock in processors or ()]
            pair = [timed(ours), timed(baseline) if baseline else 0.0]
            pair += [clock() - start for clock, start in zip(processors or (), started, strict=True)]
            if number:
                times.append(pair)
        columns = [list(column) for column in zip(*times, strict=True)]
        self.row(row, name, columns[0], columns[1] if baseline else None, what)
        if processors is not None:
            self.row(row, f"{name}, processor time", columns[2], columns[3], what)


def summary(seconds: list[float]) -> str:
    median, least, most = statistics.median(seconds) * 1e3, min(seconds) * 1e3, max(seconds) * 1e3
    return f"{median:.2f} | {least:.2f} | {most - least:.2f}"


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def at_once(callers: int, call: Callable[[], object]) -> None:
    with ThreadPoolExecutor(callers) as threads:
        for done in [threads.submit(call) for _ in range(callers)]:
            done.result()
