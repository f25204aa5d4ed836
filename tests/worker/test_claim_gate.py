"""A process that could store no result claims no work, and pauses longer each time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from accounts.models import User
from inpainting.models import Generation, Status
from inpainting.storage import StorageUnavailable
from inpainting.worker import run as running
from inpainting.worker.queue import claim_gate as gates
from inpainting.worker.queue.claim_gate import CHECK_SECONDS, LONGEST_PAUSE_SECONDS, ClaimGate, claim_gate


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock: clock[0] is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(gates, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def checked(problems: dict[str, str]) -> tuple[ClaimGate, list[None]]:
    """A gate and the list of its checks."""
    gate = ClaimGate()
    checks: list[None] = []

    def find() -> dict[str, str]:
        checks.append(None)
        return problems

    gate.find_problems = find
    return gate, checks


def test_without_problems_it_is_open_and_checks_now_and_then(clock: list[float]) -> None:
    gate, checks = checked({})
    assert all(gate.is_open() for _ in range(100))
    assert len(checks) == 1
    clock[0] += CHECK_SECONDS
    assert gate.is_open()
    assert len(checks) == 2


def test_with_a_problem_it_is_closed_and_checks_at_growing_intervals(clock: list[float]) -> None:
    problems = {"storage": "cannot be written"}
    gate, checks = checked(problems)
    times: list[int] = []
    for second in range(120):
        clock[0] = 1000.0 + second
        assert not gate.is_open()
        if len(checks) > len(times):
            times.append(second)
    assert times == [0, 1, 3, 7, 15, 31, 61, 91]
    problems.clear()
    clock[0] += LONGEST_PAUSE_SECONDS
    assert gate.is_open()


def test_after_a_failure_it_checks_at_once_and_pauses_from_the_second_on(clock: list[float]) -> None:
    gate, checks = checked({})
    assert gate.is_open()
    gate.record_failure()
    assert gate.is_open()
    assert len(checks) == 2
    for pause in (1, 2, 4):
        gate.record_failure()
        gate.record_failure()  # beside it, on another thread
        assert not gate.is_open()
        clock[0] += pause
        assert gate.is_open()
    gate.record_success()
    gate.record_failure()
    assert gate.is_open()


@pytest.mark.django_db
def test_a_worker_whose_storage_fails_leaves_what_waits_to_others(
    alice: User, generate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: dict[str, str] = {}

    def fails(generation: Generation) -> None:
        problems["storage"] = "cannot be written"
        raise StorageUnavailable("403 RequestTimeTooSkewed")

    monkeypatch.setattr(claim_gate, "find_problems", lambda: problems)
    monkeypatch.setattr(running, "read_request", fails)
    waiting = [generate(alice, run=False) for _ in range(3)]
    running.run_waiting()
    for generation in waiting:
        generation.refresh_from_db()
    assert [generation.fence for generation in waiting] == [2, 0, 0]  # one was claimed and released
    assert {(generation.status, generation.attempts) for generation in waiting} == {(Status.QUEUED, 0)}
