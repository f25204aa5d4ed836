"""Choose how many rows a step batch takes: as many as still raise the throughput, measured while it runs."""

from __future__ import annotations

MAX_ROWS = 32
"""The most rows of a step batch, even if the measurements allow more."""
FIRST_ROWS = 2
MIN_SPEED_UP = 1.05
"""Doubling the rows must raise the rows per second by this factor; less only makes every job wait longer."""


class BatchSizeTuner:
    """Step times by number of rows, for one model at one image size.

    It starts with FIRST_ROWS, doubles as long as that pays off, and stays at the knee or at `max_rows`.
    row_bytes: device memory that a row takes, 0 while unknown.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.max_rows = max(1, max_rows)
        self.row_bytes = 0
        self._seconds_per_row: dict[int, float] = {}

    def record(self, rows: int, seconds: float, byte_count: int = 0) -> None:
        """Record a step. byte_count: memory it took beside the weights, 0 where that is not measured."""
        self.row_bytes = max(self.row_bytes, byte_count // rows)
        bucket = power_of_two_above(rows)
        self._seconds_per_row[bucket] = min(seconds / rows, self._seconds_per_row.get(bucket, float("inf")))

    def knows(self, rows: int) -> bool:
        """Whether a step of about so many rows was measured."""
        return power_of_two_above(rows) in self._seconds_per_row

    def expected_seconds(self, rows: int) -> float | None:
        """Duration of a step of so many rows; None before any was measured."""
        if not self._seconds_per_row:
            return None
        nearest = min(self._seconds_per_row, key=lambda bucket: abs(bucket - power_of_two_above(rows)))
        return rows * self._seconds_per_row[nearest]

    @property
    def rows(self) -> int:
        """Rows to run now."""
        allowed = power_of_two_above(FIRST_ROWS)
        while allowed in self._seconds_per_row:
            half, now = self._seconds_per_row.get(allowed // 2), self._seconds_per_row[allowed]
            if half is not None and half < now * MIN_SPEED_UP:
                return min(allowed // 2, self.max_rows)
            allowed *= 2
        return min(allowed, self.max_rows)


def power_of_two_above(rows: int) -> int:
    """The power of two at or above."""
    return 1 << max(0, rows - 1).bit_length()
