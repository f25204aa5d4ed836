"""Points this process to a hub on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support.hub import Hub

PutOnline = Callable[[Hub], None]


@pytest.fixture
def put_online(monkeypatch: pytest.MonkeyPatch) -> PutOnline:
    """A command process loads the library after going online; in the test process it is already loaded."""
    pytest.importorskip("huggingface_hub", reason="a light installation has no hub library")
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return lambda hub: monkeypatch.setenv("HF_ENDPOINT", hub.url)
