"""The page starts a pull in a separate process, the only one that goes online; it outlives its parent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.hub import REPO, UNET_FP16, serving, tiny_model
from tests.support.installation import Installation

pytest.importorskip("huggingface_hub", reason="a light installation has no hub library")

BEGIN = f"""
import os
from django.core.management import call_command
from inpainting.models import InferenceModel
from inpainting.catalog.store.pull import start_pull_process
call_command("add_model", "theirs", "--family", "sd", "--from", "{REPO}", "--variant", "fp16")
model = InferenceModel.objects.get(slug="theirs")
print("begun", start_pull_process(model), start_pull_process(model), os.environ["HF_HUB_OFFLINE"])
"""


def state(installation: Installation) -> str:
    """The state of the model, from the file of the database: starting `manage.py` takes seconds."""
    with closing(sqlite3.connect(installation.folder / "dreamlayer.sqlite3")) as database:
        row = database.execute("SELECT state FROM inpainting_inferencemodel WHERE slug = 'theirs'").fetchone()
    return str(row[0])


@pytest.mark.full
def test_a_pull_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    with serving(tiny_model()) as hub:
        installation = Installation(tmp_path, HF_ENDPOINT=hub.url)
        installation.migrate()
        assert "begun True False 1" in installation.manage("shell", "-v", "0", "-c", BEGIN)
        installation.wait_until(lambda: state(installation) != "pulling")
        assert state(installation) == "installed"
    assert (tmp_path / "models" / "theirs" / UNET_FP16).read_bytes() == tiny_model()[UNET_FP16]
    assert "theirs is installed" in (tmp_path / "models" / "pull.log").read_text()
