"""kill -9 during the calls of every service: each client gets its result, and no generation is doubled or lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inpainting.api import dialects
from tests.chaos.apps import FAIL_POINTS
from tests.compat.clients import CLIENTS, ServiceClient
from tests.installation import Installation

pytestmark = pytest.mark.chaos

SERVICES = sorted(one.name for one in dialects.registered())


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    """A server that kills itself where the file `fail-point` says, and an API key."""
    site = Installation(
        tmp_path_factory.mktemp("crashing"),
        DJANGO_SETTINGS_MODULE="tests.chaos.settings",
        DREAMLAYER_LEASE_SECONDS="2",
    )
    key = site.migrate_with_key()
    with site.serving():
        yield site, key


@pytest.mark.parametrize("point", FAIL_POINTS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_client_gets_its_result_and_one_generation(
    crashing: tuple[Installation, str], service: str, point: str
) -> None:
    site, key = crashing
    before = generations(site, key, service)
    armed = Path(site.folder / "fail-point")
    armed.write_text(point)
    result = CLIENTS[service](ServiceClient(site, key, f"{service} {point}"))
    assert not armed.exists(), "the server was not killed"
    assert result.startswith(b"\x89PNG")
    made = [one for one in generations(site, key, service) if one not in before]
    assert [(one["status"], len(one["images"])) for one in made] == [("succeeded", 1)]


def generations(site: Installation, key: str, service: str) -> list[dict[str, Any]]:
    status, body = site.get(f"/api/generations/?service={service}&page_size=100", key=key)
    assert status == 200
    found: list[dict[str, Any]] = json.loads(body)["results"]
    return found
