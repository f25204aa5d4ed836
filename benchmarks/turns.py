"""Sides that are measured by turns (ABAB...), so that load from outside affects them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. busy: seconds of processor time, all threads together. device: seconds as CUDA events saw it."""

    wall: float
    busy: float = 0.0
    device: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """Repeated measurements of one side.

    device: the same seconds as CUDA events saw them, empty without CUDA. busy: seconds of processor time, all threads
    together: on a shared machine it is more reliable than wall-clock time.
    """

    values: tuple[float, ...]
    device: tuple[float, ...] = ()
    busy: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def spread(self) -> float:
        return max(self.values) - min(self.values)

    @property
    def busy_median(self) -> float:
        return statistics.median(self.busy)

    def as_json(self) -> dict[str, Any]:
        seen = {"median": self.median, "min": self.least, "spread": self.spread, "n": len(self.values)}
        if self.device:
            seen["device_median"] = statistics.median(self.device)
        if self.busy:
            seen["busy_median"] = self.busy_median
        return seen


def once(value: float) -> Figure:
    """A figure that was computed or measured a single time."""
    return Figure((value,))


def in_turns(
    sides: Mapping[str, Callable[[], Sample]], *, repeats: int, budget_seconds: float = float("inf")
) -> dict[str, Figure]:
    """Each side in its turn, again and again: `repeats` rounds, or two at least and what the budget holds."""
    found: dict[str, list[Sample]] = {name: [] for name in sides}
    started = time.perf_counter()
    for done in range(repeats):
        used = time.perf_counter() - started
        if done >= 2 and used + used / done > budget_seconds:
            break
        for name, measure in sides.items():
            found[name].append(measure())
    return {
        name: Figure(
            tuple(sample.wall for sample in samples),
            tuple(sample.device for sample in samples if sample.device is not None),
            tuple(sample.busy for sample in samples),
        )
        for name, samples in found.items()
    }
