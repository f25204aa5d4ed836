"""A clock that moves only where a test lets something take time."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import pytest

from inpainting.api import images, later_response, views
from inpainting.api.compat.modelslab import dialect as modelslab
from inpainting.net import OutboundPolicy

START = 1000.0


class Clock:
    """The monotonic clock of the modules that compute how long a response waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        self.waited: list[float | None] = []
        """For how long the responses would have waited for the end of their generations."""
        for module in (views, later_response, images, modelslab):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(later_response, "wait_until_ended", self.wait)

    async def wait(self, pk: UUID, *, patience_seconds: float | None) -> bool:
        self.waited.append(patience_seconds)
        return False

    def let_fetching_take(self, monkeypatch: pytest.MonkeyPatch, seconds: float, image: bytes) -> list[float]:
        """Let every URL return the image after that time. Returns the list of the downloads' time limits."""
        limits: list[float] = []

        def download(url: str, *, field: str, policy: OutboundPolicy) -> bytes:
            limits.append(policy.total_seconds)
            self.now += seconds
            return image

        monkeypatch.setattr(images, "download_image", download)
        return limits
