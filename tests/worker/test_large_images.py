"""Large images are painted one at a time in each process."""

from __future__ import annotations

import threading

import pytest

from inpainting.core.errors import Cancelled
from inpainting.worker import large_images
from inpainting.worker.large_images import LARGE_PIXELS, one_at_a_time


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_images, "POLL_SECONDS", 0.01)


def never() -> None:
    pytest.fail("It waited.")


def test_a_second_large_image_waits_and_can_be_cancelled() -> None:
    def cancel() -> None:
        raise Cancelled

    with one_at_a_time(LARGE_PIXELS, never):
        with pytest.raises(Cancelled), one_at_a_time(LARGE_PIXELS, cancel):
            pytest.fail("Two large images were painted at once.")
        with one_at_a_time(LARGE_PIXELS - 1, never):
            pass
    with one_at_a_time(LARGE_PIXELS, never):
        pass


def test_a_waiting_image_is_next_and_reports_meanwhile() -> None:
    waited, entered = threading.Event(), threading.Event()

    def wait_and_enter() -> None:
        with one_at_a_time(LARGE_PIXELS, waited.set):
            entered.set()

    thread = threading.Thread(target=wait_and_enter)
    with one_at_a_time(LARGE_PIXELS, never):
        thread.start()
        assert waited.wait(10)
        assert not entered.is_set()
    assert entered.wait(10)
    thread.join()


def test_a_failed_image_makes_room() -> None:
    with pytest.raises(ValueError, match="failed"), one_at_a_time(LARGE_PIXELS, never):
        raise ValueError("failed")
    with one_at_a_time(LARGE_PIXELS, never):
        pass
