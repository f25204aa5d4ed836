"""`POST /api/captions/`: words for an image, by BLIP where it is installed, else by the colours."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client

from inpainting.captioning import find_captioner
from inpainting.core.image import CanonicalImage
from tests.api.bodies import text, upload
from tests.conftest import png

pytestmark = [
    pytest.mark.django_db(transaction=True),  # a worker describes what is committed
    pytest.mark.usefixtures("models_folder"),
]

URL = "/api/captions/"
RED = np.full((40, 60, 3), (220, 30, 30), np.uint8)


def test_without_a_model_the_colours_are_named_and_the_answer_says_so(alices_program: Client) -> None:
    sent: list[Any] = [
        alices_program.post(URL, {"image": upload(png(RED))}),
        alices_program.post(URL, {"image": text(png(RED))}, content_type="application/json"),
    ]
    for answer in sent:
        assert answer.status_code == 200
        assert answer.json() == {"status": "success", "caption": "a photo in red", "captioner": "colours"}
    drawing = {"image": text(png(RED)), "style": "anime"}
    answer = alices_program.post(URL, drawing, content_type="application/json")
    assert answer.json()["caption"] == "an anime drawing in red"


def test_an_installed_model_describes_and_is_named(alices_program: Client, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "carried", "blip")
    call_command("pull_model", "blip-base", "--yes", f"--from={folder}", stdout=StringIO())
    answer = alices_program.post(URL, {"image": upload(png(RED))})
    assert answer.status_code == 200
    assert answer.json()["captioner"] == "blip-base"
    captioner = find_captioner()
    assert captioner
    assert answer.json()["caption"] == captioner.describe(CanonicalImage(RED)).text


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "field_missing", "image"),
        ({"image": "no image"}, "image_base64_invalid", "image"),
        ({"image": text(png(RED)), "style": "oil"}, "field_invalid", "style"),
        ({"image": text(png(RED)), "style": ["photo"]}, "field_invalid", "style"),
    ],
    ids=["nothing", "text", "style", "list"],
)
def test_wrong_fields_are_named(alices_program: Client, fields: dict[str, Any], code: str, field: str) -> None:
    answer = alices_program.post(URL, fields, content_type="application/json")
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"]) == (400, code, field)


def test_others_are_refused(client: Client) -> None:
    assert client.post(URL, {"image": upload(png(RED))}).status_code == 401
