"""How far the work is: nested shares of one whole, told as steps that never fall."""

from __future__ import annotations

from collections.abc import Callable

from inpainting.engines.base import OnStep, Step

Report = Callable[[float], None]
"""Called with 0..1, the share of a piece of work that is done."""

STEPS = 100


class Progress:
    """Turns shares into `Step`s of STEPS; a step is told once, and what `on_step` raises passes through."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._done = 0

    def __call__(self, share: float) -> None:
        done = min(STEPS, int(share * STEPS + 1e-6))
        if done > self._done:
            self._done = done
            self._on_step(Step(done, STEPS))


def part(report: Report, start: float, end: float) -> Report:
    """The report of a piece of work that is `start`..`end` of a greater one."""
    return lambda share: report(start + (end - start) * share)
