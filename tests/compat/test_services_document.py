"""docs/use/services.md: each service has a section whose command works as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from inpainting.api import dialects
from tests.support import image_host
from tests.support.installation import ROOT, Installation

DOCUMENT = (ROOT / "docs/use/services.md").read_text()
COMMANDS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).*\n)*?```bash\n((?:.*\n)*?)```", DOCUMENT, re.MULTILINE)
"""The heading of each section with a command, and its first one."""
SERVICES = {dialect.name: dialect for dialect in dialects.registered_dialects() if dialect.name != "native"}


def test_every_service_has_a_section_with_a_command() -> None:
    missing = [
        name
        for name, service in SERVICES.items()
        if not any(f"$DREAMLAYER{prefix}" in command for _, command in COMMANDS for prefix in service.prefixes)
    ]
    assert missing == []
    for service in SERVICES.values():
        assert all(f"`{prefix}" in DOCUMENT for prefix in service.prefixes)


@pytest.mark.parametrize(("heading", "command"), COMMANDS, ids=[heading for heading, _ in COMMANDS])
def test_the_command_works_as_printed(
    open_site: Installation, open_site_key: str, tmp_path: Path, heading: str, command: str
) -> None:
    path = re.search(r"\$DREAMLAYER(/[^\s\"'?]*)", command)
    assert path, "it calls no service"
    service = dialects.dialect_at(path[1])
    assert service is not None
    image_host.write_images(tmp_path)

    def count() -> int:
        _, body = open_site.get(f"/api/generations/?service={service.name}&status=succeeded", key=open_site_key)
        return int(json.loads(body)["count"])

    before = count()
    environment = {**os.environ, "DREAMLAYER": open_site.url, "KEY": open_site_key}
    done = subprocess.run(
        ["bash", "-e", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    Installation.wait_until(lambda: count() == before + 1)
