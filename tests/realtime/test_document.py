"""docs/live.md is true: its program runs against a real server, and it names every message and close code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from inpainting.realtime import consumers
from inpainting.realtime.events import Event
from tests.installation import ROOT, Installation

pytest.importorskip("websockets")
TEXT = (ROOT / "docs" / "live.md").read_text()


def test_the_program_hears_of_a_painting_to_its_end(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    installation = Installation(tmp_path)
    installation.migrate()
    key = installation.manage("create_api_key", "alice@example.com", "--create-user").strip()
    with installation.serving():
        environment = {**os.environ, "KEY": key, "SITE": f"http://127.0.0.1:{installation.port}"}
        listener = subprocess.Popen(
            [sys.executable, "-u", "-c", program], env=environment, stdout=subprocess.PIPE, text=True
        )
        said = []
        try:
            # Whoever comes late hears nothing of what has ended: paint until something was heard.
            while listener.poll() is None:
                said.append(installation.img2img(key, photo_png, mask_png)[1]["id"])
        finally:
            listener.kill()
        lines = [line.split() for line in listener.communicate()[0].splitlines()]
    assert listener.returncode == 0
    assert {line[0] for line in lines} <= set(said)
    assert lines[-1][1] == "succeeded"


def test_it_names_every_message_and_every_close_code() -> None:
    for word in (*get_args(get_type_hints(Event)["type"]), *Event.__annotations__):
        assert f"`{word}`" in TEXT, word
    for code in (consumers.BROKEN, consumers.SIGNED_OUT, consumers.NOT_FOUND, consumers.TOO_MANY):
        assert f"| {code} |" in TEXT
