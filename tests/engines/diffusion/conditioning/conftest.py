"""The folder of the tests of adapters."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models and adapters of a module are saved."""
    return tmp_path_factory.mktemp("adapters")
