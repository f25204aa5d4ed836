"""Work on another thread while the caller's lease is kept alive."""

from __future__ import annotations

import threading

import pytest

from inpainting import keepalive
from inpainting.keepalive import run_in_thread


def test_keepalive_is_called_meanwhile_and_may_raise() -> None:
    """`work` ends only after the waiting thread has called its keepalive."""
    keepalives: list[None] = []

    def work() -> str:
        while not keepalives:
            pass
        return "done"

    assert run_in_thread(work, lambda: keepalives.append(None)) == "done"

    class Stop(Exception):
        pass

    def stop() -> None:
        keepalives.append(None)
        raise Stop

    keepalives.clear()
    with pytest.raises(Stop):
        run_in_thread(work, stop)


def test_keepalive_is_not_called_for_work_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "KEEPALIVE_SECONDS", 0.01)
    ended = threading.Event()
    calls: list[None] = []
    run_in_thread(lambda: ended.wait(0.1), lambda: calls.append(None), seconds=0)
    assert calls == []
