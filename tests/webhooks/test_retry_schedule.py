"""The retry schedule: pauses, jitter and Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpainting.webhooks import RETRY_SECONDS, retry_after_seconds, seconds_until_retry
from tests.webhooks.receiving import seeded

DAY = 24 * 3600
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_the_pauses_follow_the_specification() -> None:
    minutes = [seconds / 60 for seconds in RETRY_SECONDS]
    assert minutes == [5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440]


@given(tries=st.integers(0, 8), seed=st.integers(0, 2**32))
def test_the_jitter_is_a_fifth(tries: int, seed: int) -> None:
    chance = seeded(seed)
    pauses = [seconds_until_retry(tries, chance) for _ in range(5)]
    assert all(0.8 * RETRY_SECONDS[tries] <= pause <= 1.2 * RETRY_SECONDS[tries] for pause in pauses)
    assert len(set(pauses)) == 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("²", 0),
        ("0", 0),
        (" 120 ", 120),
        ("172800", DAY),  # two days: one is the most
        ("9" * 400, DAY),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 12:00:10 -0000", 10),
        ("Mon, 23 Nov 2026 12:00:00 GMT", DAY),
        ("Sat, 99 Nov 2026 12:00:00 GMT", 0),
    ],
)
def test_retry_after_is_parsed_and_bounded(header: str | None, seconds: int) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


@given(header=st.text(max_size=40))
def test_any_header_is_parsed_without_error(header: str) -> None:
    assert 0 <= retry_after_seconds(header, now=NOW) <= DAY


def test_the_longer_pause_applies() -> None:
    assert seconds_until_retry(0, seeded(1), "600") == 600
    assert seconds_until_retry(2, seeded(1), "1") > 1000
