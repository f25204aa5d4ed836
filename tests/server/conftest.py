from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.connections import Connections


@pytest.fixture
def connections() -> Iterator[Connections]:
    with closing(Connections()) as connections:
        yield connections
