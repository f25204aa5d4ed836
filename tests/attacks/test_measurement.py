"""The measurement sees memory and pauses of every process of the server."""

from __future__ import annotations

import math
import os
import signal
import time

import pytest

from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]


def test_an_idle_server_takes_no_memory_and_loads_pages(server: Installation) -> None:
    with Measurement(server) as measured:
        time.sleep(1)
    assert measured.pages > 10
    assert measured.slowest_page < 5
    assert 50 * MB < measured.idle_memory < 1000 * MB
    assert measured.extra_memory < 20 * MB


def test_it_sees_a_pause_and_a_page_that_cannot_be_loaded(server: Installation) -> None:
    assert server.process is not None
    (child,) = server.children_of(server.process.pid)
    with Measurement(server) as measured:
        os.kill(child, signal.SIGSTOP)
        time.sleep(1)
        os.kill(child, signal.SIGCONT)
        time.sleep(0.2)
    assert 0.8 < measured.slowest_page < math.inf
    with Measurement(server) as measured:
        time.sleep(0.5)  # until the visitor has a connection
        os.kill(child, signal.SIGKILL)
        time.sleep(0.5)
    assert measured.slowest_page == math.inf
