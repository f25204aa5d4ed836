"""Each attack has a server of its own: memory that an earlier attack has left behind would hide what the next takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Installation


@pytest.fixture
def server_environment() -> dict[str, str]:
    """The DREAMLAYER_* variables of `server`; tests that need others override this fixture or parametrize it."""
    return {}


@pytest.fixture
def server(tmp_path: Path, server_environment: dict[str, str]) -> Iterator[Installation]:
    """A running `manage.py serve` with an empty database."""
    server = Installation(tmp_path, **server_environment)
    server.migrate()
    with server.serving():
        yield server


@pytest.fixture
def server_key(server: Installation) -> str:
    """The API key of a user of `server`."""
    return server.manage("create_api_key", "attacker@example.com", "--create-user").strip()
