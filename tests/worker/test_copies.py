"""The copy in the requested format is made while the PNG is stored, and is not kept without it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from accounts.models import User
from inpainting.models import Generation, Status
from inpainting.worker import run

Generate = Callable[..., Generation]

pytestmark = pytest.mark.django_db


def test_the_copy_is_made_while_the_png_is_stored(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (copy, png) = threading.Event(), (run.store_copy, run.store_png)

    def store_copy(*given: Any) -> Any:
        stored = copy(*given)
        made.set()
        return stored

    def store_png(*given: Any) -> Any:
        assert made.wait(30), "the copy waits for the PNG"
        return png(*given)

    monkeypatch.setattr(run, "store_copy", store_copy)
    monkeypatch.setattr(run, "store_png", store_png)
    generation = generate(alice, output_format="jpeg")
    assert generation.status == Status.SUCCEEDED
    assert generation.images.get().report["copy"]["format"] == "jpeg"


def test_a_copy_is_deleted_where_the_png_cannot_be_stored(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store_png(*given: Any) -> Any:
        raise ValueError

    monkeypatch.setattr(run, "store_png", store_png)
    folder = Path(default_storage.path("generatedimage"))
    earlier = set(folder.rglob("*.jpg"))
    assert generate(alice, output_format="jpeg").status == Status.FAILED
    assert set(folder.rglob("*.jpg")) == earlier
