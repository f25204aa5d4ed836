"""Each attack has a server of its own: memory that an earlier attack has left behind would hide what the next takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation


@pytest.fixture
def server_environment() -> dict[str, str]:
    """The DREAMLAYER_* variables of `server`; tests that need others override this fixture or parametrize it."""
    return {}


@pytest.fixture
def installed(tmp_path: Path, server_environment: dict[str, str]) -> tuple[Installation, str]:
    """An installation whose database holds one user, and the user's API key."""
    installation = Installation(tmp_path, **server_environment)
    return installation, installation.migrate_with_key()


@pytest.fixture
def server(installed: tuple[Installation, str]) -> Iterator[Installation]:
    """A running `manage.py serve`."""
    with installed[0].serving():
        yield installed[0]


@pytest.fixture
def server_key(installed: tuple[Installation, str]) -> str:
    """The API key of a user of `server`."""
    return installed[1]
