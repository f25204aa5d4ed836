"""Whether this process may claim work: not while it could store no result.

A worker whose disk, clock or credentials are wrong is quicker than the others, since it only fails. Without the gate it
would claim and release most of what waits, again and again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

CHECK_SECONDS = 30.0
"""How long a check without problems holds, unless work fails."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
"""Pauses after which a process that may not claim checks again; each is twice the one before."""


def no_problems() -> Mapping[str, str]:
    return {}


class ClaimGate:
    """Closes when a check finds a problem, or when work repeatedly fails by a fault of the surroundings.

    find_problems: returns components and their problems, as `/readyz` names them. Set by `serve`.
    """

    def __init__(self) -> None:
        self.find_problems: Callable[[], Mapping[str, str]] = no_problems
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was found and what failed."""
        self._open_until = self._closed_until = float("-inf")
        self._pause_seconds = 0.0
        self._failures = 0
        self.problem = ""
        """Why it is closed; empty while it is open."""

    def is_open(self) -> bool:
        """Return whether this process may claim work. Checks that at most every CHECK_SECONDS, or after a pause."""
        if time.monotonic() < self._open_until:
            return True
        with self._lock:
            if time.monotonic() < self._open_until:
                return True
            if time.monotonic() < self._closed_until:
                return False
            if problems := self.find_problems():
                self._pause(", ".join(f"{component} {problem}" for component, problem in problems.items()))
                return False
            self._open_until = time.monotonic() + CHECK_SECONDS
            self.problem = ""
            return True

    def record_failure(self) -> None:
        """Work was released because of the surroundings of this process: check them before the next claim.

        From the second failure in succession it claims nothing for a while, whatever the check says.
        """
        with self._lock:
            self._open_until = float("-inf")
            self._failures += 1
            if self._failures > 1 and time.monotonic() >= self._closed_until:
                self._pause("work failed repeatedly")

    def record_success(self) -> None:
        """A result was stored."""
        self._failures, self._pause_seconds = 0, 0.0

    def _pause(self, why: str) -> None:
        self._pause_seconds = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause_seconds), LONGEST_PAUSE_SECONDS)
        self._closed_until = time.monotonic() + self._pause_seconds
        self.problem = why
        logger.warning("This process claims no work for %.0f s: %s", self._pause_seconds, why)


claim_gate = ClaimGate()
"""Of this process."""
