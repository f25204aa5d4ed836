"""Progress of nested pieces of work, reported as steps that never decrease."""

from __future__ import annotations

from collections.abc import Callable

from inpainting.engines.base import OnStep, Step

Report = Callable[[float], None]
"""Called with the share of a piece of work that is done, 0..1."""

STEPS = 100


class Progress:
    """Converts shares to `Step`s of STEPS; each step is reported once. Errors from `on_step` propagate."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._done = 0

    def __call__(self, share: float) -> None:
        done = min(STEPS, int(share * STEPS + 1e-6))
        if done > self._done:
            self._done = done
            self._on_step(Step(done, STEPS))


def subrange(report: Report, start: float, end: float) -> Report:
    """Return the report for a piece of work that is `start`..`end` of a larger one."""
    return lambda share: report(start + (end - start) * share)
