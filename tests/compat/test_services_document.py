"""docs/use/services.md: each service has a section whose command works as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inpainting.api import dialects
from tests.support import client_programs, image_host
from tests.support.installation import ROOT, Installation

DOCUMENT = (ROOT / "docs/use/services.md").read_text()
COMMANDS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).*\n)*?```bash\n((?:.*\n)*?)```", DOCUMENT, re.MULTILINE)
"""The heading of each section with a command, and its first one."""
EXAMPLES = [
    (heading, language, example)
    for heading, section in re.findall(r"^## ([^\n]+)\n((?:(?!^## ).*\n)*)", DOCUMENT, re.MULTILINE)
    for language, example in re.findall(r"^```(python|js)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
]
"""The heading of each section with lines for an official client, the language, and the lines."""
BEFORE = {
    "python": """
import base64
from huggingface_hub import InferenceClient
from openai import OpenAI
""",
    "js": """
import { createReadStream, readFileSync } from "node:fs"
import { InferenceClient } from "@huggingface/inference"
import OpenAI from "openai"
const photo = new Blob([readFileSync("photo.png")]), mask = readFileSync("mask.png").toString("base64")
""",
}
"""What the lines take for granted, beside the key."""
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
    paints_once(["bash", "-e", "-c", command], service.name, open_site, open_site_key, tmp_path)


@pytest.mark.clients
@pytest.mark.parametrize(("heading", "language", "example"), EXAMPLES, ids=[f"{e[0]}-{e[1]}" for e in EXAMPLES])
def test_the_lines_for_a_client_work_as_printed(
    open_site: Installation, open_site_key: str, tmp_path: Path, heading: str, language: str, example: str
) -> None:
    service = heading.partition(" images")[0].replace(" ", "").lower()
    client_programs.write_images(tmp_path)
    if service == "openai":
        (tmp_path / "alpha.png").replace(tmp_path / "mask.png")
    program = f"{BEFORE[language]}\n{'const ' if language == 'js' else ''}KEY = {open_site_key!r}\n{example}"
    program = program.replace("https://dreamlayer.example", open_site.url)
    if language == "js":
        node, clients = client_programs.node_and_clients()
        file = clients / f"{service}_lines.mjs"  # A module imports from the folder in which it is.
        command = [node, str(file)]
    else:
        file = tmp_path / "lines.py"
        command = [sys.executable, str(file)]
    file.write_text(program)
    paints_once(command, service, open_site, open_site_key, tmp_path)


def paints_once(command: list[str], service: str, site: Installation, key: str, folder: Path) -> None:
    """Run a command in the folder, and check that the service has painted one generation."""

    def count() -> int:
        _, body = site.get(f"/api/generations/?service={service}&status=succeeded", key=key)
        return int(json.loads(body)["count"])

    before = count()
    environment = {**os.environ, "DREAMLAYER": site.url, "KEY": key}
    environment.pop("HF_HUB_OFFLINE", None)  # of the other tests
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    Installation.wait_until(lambda: count() == before + 1)
