"""How often the database is asked: accepting is one short transaction, and lists ask no more for being long."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from inpainting.models import Generation

Generate = Callable[..., Generation]


def test_accepting_a_picture_takes_few_queries(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda queue: None)  # no worker's queries

    def accept() -> CaptureQueriesContext:
        files = {
            "image": SimpleUploadedFile("i.png", photo_png),
            "mask": SimpleUploadedFile("m.png", mask_png, "image/png"),
        }
        with CaptureQueriesContext(connection) as asked:
            answer = alices_program.post("/api/img2img", {"prompt": "", **files}, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.content
        return asked

    accept()
    asked = accept()
    assert len(asked) <= 14, "\n".join(query["sql"][:160] for query in asked)


def test_a_longer_list_takes_no_more_queries(alice: User, alices_program: Client, generate: Generate) -> None:
    alices_program.get("/api/generations/")  # the first use of a key in a while is noted
    counts = []
    for more in (1, 4):
        for _ in range(more):
            generate(alice)
        with CaptureQueriesContext(connection) as asked:
            assert alices_program.get("/api/generations/").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1], "\n".join(query["sql"][:160] for query in asked)
