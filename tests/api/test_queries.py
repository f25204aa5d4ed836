"""Numbers of database queries: few to accept a generation, constant for lists of any length."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from inpainting.core.request import PaintSettings
from inpainting.models import Generation, InferenceModel
from inpainting.planning import planner

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


def catalog_queries(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in queries if InferenceModel._meta.db_table in query["sql"]]


@pytest.mark.usefixtures("diffusion_requests")
def test_accepting_a_generation_reads_the_catalog_once(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda queue: None)
    fields = {"prompt": "a lawn", "model": "tiny", "control": "canny", "guidance_scale": "25"}
    files = {
        "image": SimpleUploadedFile("i.png", photo_png),
        "params": json.dumps(fields),
    }
    with CaptureQueriesContext(connection) as queries:
        answer = alices_program.post("/api/img2img", files, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.content
    assert len(catalog_queries(queries)) == 1, catalog_queries(queries)


@pytest.mark.usefixtures("diffusion_requests")
def test_planning_reads_the_catalog_once() -> None:
    wanted = PaintSettings(prompt="a lawn", model="tiny", control="canny", ip_adapter="look")
    with CaptureQueriesContext(connection) as queries:
        plan = planner().plan_settings(wanted)
    assert (plan.engine.name, plan.settings.model, plan.settings.control) == ("diffusion", "tiny", "canny")
    assert len(catalog_queries(queries)) == len(queries) == 1, queries.captured_queries
