"""The page starts a pull in a separate process, the only one that goes online; it outlives its parent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.hub import REPO, UNET_FP16, serving, tiny_model
from tests.installation import Installation

pytest.importorskip("huggingface_hub", reason="a light installation has no hub library")

BEGIN = """
from inpainting.models import InferenceModel
from inpainting.catalog.store.pull import start_pull_process
model = InferenceModel.objects.get(slug="theirs")
print("begun", start_pull_process(model), start_pull_process(model))
"""
LOOK = """
import os
from inpainting.models import InferenceModel
model = InferenceModel.objects.get(slug="theirs")
print(model.state, os.environ["HF_HUB_OFFLINE"])
"""


def is_being_pulled(installation: Installation) -> bool:
    """Reads the file of the database: starting `manage.py` every time takes seconds."""
    with closing(sqlite3.connect(installation.folder / "dreamlayer.sqlite3")) as database:
        return bool(database.execute("SELECT 1 FROM inpainting_inferencemodel WHERE state = 'pulling'").fetchall())


def test_a_pull_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    with serving(tiny_model()) as hub:
        installation = Installation(tmp_path, HF_ENDPOINT=hub.url)
        installation.migrate()
        installation.manage("add_model", "theirs", "--family", "sd", "--from", REPO, "--variant", "fp16")
        assert "begun True False" in installation.manage("shell", "-v", "0", "-c", BEGIN)
        installation.wait_until(lambda: not is_being_pulled(installation))
        assert "installed 1" in installation.manage("shell", "-v", "0", "-c", LOOK)
    assert (tmp_path / "models" / "theirs" / UNET_FP16).read_bytes() == tiny_model()[UNET_FP16]
    assert "theirs is installed" in (tmp_path / "models" / "pull.log").read_text()
