from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from tests.support.connections import Connections


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    with closing(Connections()) as connections:
        yield connections
