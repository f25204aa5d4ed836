from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.models import Generation
from inpainting.realtime import queue_positions

Wait = Callable[..., Generation]


@pytest.fixture(autouse=True)
def _polling_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_positions, "POLL_SECONDS", 0.02)


@pytest.fixture
def wait(photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> Wait:
    """Return wait(owner), which creates a queued generation."""

    def make(owner: User, *, engine: str = "quick-fill") -> Generation:
        generation = Generation.from_request(InpaintRequest(CanonicalImage(photo), hole), owner=owner, engine=engine)
        generation.save_new()
        return generation

    return make


@pytest.fixture
def waiting(alice: User, wait: Wait) -> Generation:
    return wait(alice)
