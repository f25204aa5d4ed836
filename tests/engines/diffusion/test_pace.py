"""The number of rows is learned from steps that were taken."""

from __future__ import annotations

from inpainting.engines.diffusion.pace import Pace


def learned(seconds: dict[int, float], *, most_rows: int = 32) -> int:
    """The rows at which it settles where a step of n rows takes so long."""
    pace = Pace(most_rows)
    for _ in range(10):
        pace.note(pace.rows, seconds[pace.rows])
    return pace.rows


def test_it_doubles_while_that_makes_the_work_faster() -> None:
    assert learned({2: 1.0, 4: 1.2, 8: 1.5, 16: 2.0, 32: 4.0}) == 16


def test_where_company_only_makes_everybody_wait_it_stays_small() -> None:
    assert learned({2: 1.0, 4: 2.0}) == 2


def test_memory_bounds_it() -> None:
    assert learned({2: 1.0, 4: 1.2}, most_rows=4) == 4


def test_a_shortage_halves_it_until_the_group_has_ended() -> None:
    pace = Pace(32)
    for rows, seconds in {2: 1.0, 4: 1.2, 8: 1.5}.items():
        pace.note(rows, seconds)
    assert pace.rows == 16
    pace.shrink(16)
    assert pace.rows == 8
    for _ in range(5):
        pace.shrink(2)
    assert pace.rows == 2  # one picture is always tried
    pace.forget_shortage()
    assert pace.rows == 16


def test_it_says_how_long_a_step_takes() -> None:
    pace = Pace(32)
    assert pace.seconds(4) is None
    pace.note(2, 1.0)
    assert pace.seconds(4) == 2.0
