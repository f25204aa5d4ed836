"""Choose how many rows a step batch takes: as many as still raise the throughput, measured while it runs."""

from __future__ import annotations

WORTH_IT = 1.05
"""Twice the rows must do so many times the work a second, or they only make everybody wait longer."""


class BatchSizeTuner:
    """Seconds of a step by the number of rows, for one model at one size.

    It begins with `first_rows`, doubles while that pays, and stays at the knee, or at `max_rows`.
    row_bytes: what a row takes of the device's memory, 0 while unknown.
    """

    def __init__(self, max_rows: int, *, first_rows: int = 2) -> None:
        self.max_rows = max(1, max_rows)
        self.first_rows = first_rows
        self.row_bytes = 0
        self._seconds_a_row: dict[int, float] = {}

    def note(self, rows: int, seconds: float, byte_count: int = 0) -> None:
        """A step of so many rows took so long, and so much memory beside the weights; 0 where that is not measured."""
        self.row_bytes = max(self.row_bytes, byte_count // rows)
        bucket = bucket_of(rows)
        self._seconds_a_row[bucket] = min(seconds / rows, self._seconds_a_row.get(bucket, float("inf")))

    def seconds(self, rows: int) -> float | None:
        """How long a step of so many rows takes; None before any was measured."""
        if not self._seconds_a_row:
            return None
        nearest = min(self._seconds_a_row, key=lambda bucket: abs(bucket - bucket_of(rows)))
        return rows * self._seconds_a_row[nearest]

    @property
    def rows(self) -> int:
        """How many rows to run now."""
        allowed = bucket_of(self.first_rows)
        while allowed in self._seconds_a_row:
            half, now = self._seconds_a_row.get(allowed // 2), self._seconds_a_row[allowed]
            if half is not None and half < now * WORTH_IT:
                return min(allowed // 2, self.max_rows)
            allowed *= 2
        return min(allowed, self.max_rows)


def bucket_of(rows: int) -> int:
    """The power of two at or above."""
    return 1 << max(0, rows - 1).bit_length()
