"""The parent process tells a child which of the children before it crashed, and names none that was killed."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dreamlayer_site.server import supervisor
from dreamlayer_site.server.supervisor import Supervisor, count_oom_kills, is_crash


@pytest.mark.parametrize(
    ("status", "crashed"),
    [
        (0, False),
        (1, True),
        (70, True),
        (-signal.SIGSEGV, True),
        (-signal.SIGABRT, True),
        (-signal.SIGKILL, False),
        (-signal.SIGTERM, False),
        (-signal.SIGINT, False),
        (-signal.SIGHUP, False),
    ],
)
def test_a_child_that_was_killed_or_stopped_has_not_crashed(status: int, crashed: bool) -> None:
    assert is_crash(status, oom_kills=count_oom_kills()) is crashed


def test_a_child_that_the_kernel_killed_for_lack_of_memory_has_crashed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vmstat = tmp_path / "vmstat"
    monkeypatch.setattr(supervisor, "VMSTAT", vmstat)
    assert count_oom_kills() == 0, "not every system has the file"
    vmstat.write_text("nr_free_pages 1\noom_kill 3\n")
    assert is_crash(-signal.SIGKILL, oom_kills=2)
    assert not is_crash(-signal.SIGKILL, oom_kills=3)


class Process:
    """A process that ends with this status."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid, self.status = pid, status

    def wait(self) -> int:
        return self.status


def test_each_child_is_told_of_all_that_crashed_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [-signal.SIGSEGV, -signal.SIGKILL, 1, supervisor.INVALID_SETTINGS]
    told: list[list[str]] = []
    parents: set[str] = set()

    def start(command: Sequence[str], *, env: dict[str, str], **options: Any) -> Process:
        told.append([word for word in command if word.startswith("--crashed")])
        parents.add(env["DREAMLAYER_PARENT"])
        return Process(pid=len(told), status=ends[len(told) - 1])

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with socket.socket() as listener:
        assert Supervisor([supervisor.Child(listener, {})]).run() == supervisor.INVALID_SETTINGS
    assert told == [[], ["--crashed=1"], ["--crashed=1"], ["--crashed=1", "--crashed=3"]]
    assert len(parents) == 1
