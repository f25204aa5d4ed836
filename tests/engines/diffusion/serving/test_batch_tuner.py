"""The batch size is tuned by the measured times of steps."""

from __future__ import annotations

from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner


def learned(seconds: dict[int, float], *, max_rows: int = 32) -> int:
    """The final number of rows for the given step time of each number of rows."""
    tuner = BatchSizeTuner(max_rows)
    for _ in range(10):
        tuner.record(tuner.rows, seconds[tuner.rows])
    return tuner.rows


def test_the_batch_size_doubles_while_throughput_rises() -> None:
    assert learned({2: 1.0, 4: 1.2, 8: 1.5, 16: 2.0, 32: 4.0}) == 16


def test_the_batch_size_stays_small_where_larger_batches_are_no_faster() -> None:
    assert learned({2: 1.0, 4: 2.0}) == 2


def test_memory_bounds_the_batch_size() -> None:
    assert learned({2: 1.0, 4: 1.2}, max_rows=4) == 4


def test_it_records_the_largest_memory_of_a_row() -> None:
    tuner = BatchSizeTuner(32)
    for rows, byte_count in ((2, 2000), (4, 6000), (4, 0)):
        tuner.record(rows, 1.0, byte_count)
    assert tuner.row_bytes == 1500


def test_it_predicts_how_long_a_step_takes() -> None:
    tuner = BatchSizeTuner(32)
    assert tuner.expected_seconds(4) is None
    tuner.record(2, 1.0)
    assert tuner.expected_seconds(4) == 2.0
