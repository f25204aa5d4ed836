"""Every test's process is one that goes on."""

from __future__ import annotations

import threading

import pytest

from inpainting.generations import watch


@pytest.fixture(autouse=True)
def _not_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "stopping", threading.Event())
