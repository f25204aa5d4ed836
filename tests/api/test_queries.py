"""Numbers of database queries: few to accept a generation, constant for lists of any length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from inpainting import planning
from inpainting.core.request import PaintSettings
from inpainting.models import Generation, InferenceModel
from tests import stand_in

pytestmark = pytest.mark.django_db

Generate = Callable[..., Generation]


def test_accepting_a_generation_takes_few_queries(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without notifications no worker adds queries.
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda queue: None)

    def accept() -> CaptureQueriesContext:
        files = {
            "image": SimpleUploadedFile("i.png", photo_png),
            "mask": SimpleUploadedFile("m.png", mask_png, "image/png"),
        }
        with CaptureQueriesContext(connection) as queries:
            answer = alices_program.post("/api/img2img", {"prompt": "", **files}, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.content
        return queries

    accept()
    queries = accept()
    assert len(queries) <= 14, "\n".join(query["sql"][:160] for query in queries)


def test_a_longer_list_takes_no_more_queries(alice: User, alices_program: Client, generate: Generate) -> None:
    alices_program.get("/api/generations/")  # the first use of a key writes `last_used_at`
    counts = []
    for more in (1, 4):
        for _ in range(more):
            generate(alice)
        with CaptureQueriesContext(connection) as queries:
            assert alices_program.get("/api/generations/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1], "\n".join(query["sql"][:160] for query in queries)


def test_planning_reads_the_catalog_once(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    stand_in.install(tmp_path)
    stand_in.watch(monkeypatch)
    wanted = PaintSettings(prompt="a lawn", model="tiny", control="canny", ip_adapter="look")
    with CaptureQueriesContext(connection) as queries:
        plan = planning.plan_settings(wanted)
    assert (plan.engine.name, plan.settings.model, plan.settings.control) == ("diffusion", "tiny", "canny")
    searches = [query["sql"] for query in queries if InferenceModel._meta.db_table in query["sql"]]
    assert len(searches) == len(queries) == 1, searches
