"""docs/use/live.md: its example program runs against a real server, and every event and close code is listed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from inpainting.realtime import consumers
from inpainting.realtime.events import GenerationEvent
from tests.support.installation import ROOT, Installation

pytest.importorskip("websockets")
TEXT = (ROOT / "docs/use/live.md").read_text()


def test_the_example_program_receives_events_until_the_end(
    site: Installation, site_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    environment = {**os.environ, "KEY": site_key, "SITE": f"http://127.0.0.1:{site.port}"}
    listener = subprocess.Popen(
        [sys.executable, "-u", "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    )
    submitted = []
    try:
        # Generations that ended before the program connected are not sent: submit until it has seen one end.
        while listener.poll() is None:
            submitted.append(site.img2img(site_key, photo_png, mask_png)[1]["id"])
    finally:
        listener.kill()
    lines = [line.split() for line in listener.communicate()[0].splitlines()]
    assert listener.returncode == 0
    assert {line[0] for line in lines} <= set(submitted)
    assert lines[-1][1] == "succeeded"


def test_every_event_and_close_code_is_listed() -> None:
    for word in (*get_args(get_type_hints(GenerationEvent)["type"]), *GenerationEvent.__annotations__):
        assert f"`{word}`" in TEXT, word
    for code in (consumers.BROKEN, consumers.SIGNED_OUT, consumers.NOT_FOUND, consumers.TOO_MANY):
        assert f"| {code} |" in TEXT
