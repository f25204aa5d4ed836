"""The limit on what one request repaints: the same refusal wherever a request is planned, before anything is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError
from django.test import Client

from inpainting.core.errors import InvalidRequest
from inpainting.models import Generation, SourceImage
from inpainting.planning import planner
from tests.commands.running import inpaint
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

IMAGE = np.full((300, 400, 3), 90, np.uint8)
MASK = np.full((300, 400, 3), 255, np.uint8)
MASK[:150] = 0
"""Black repaints: 60,000 pixels."""


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.MAX_PAINT_MEGAPIXELS = 0.1


def body(**others: object) -> dict[str, object]:
    uploads = {"image": png(IMAGE), "mask": png(MASK)}
    files = {name: SimpleUploadedFile(f"{name}.png", data, "image/png") for name, data in uploads.items()}
    return {**files, "prompt": "a lawn", "engine": "quick-fill", **others}


@pytest.mark.parametrize("path", ["/api/img2img", "/api/plan/"])
def test_more_than_the_limit_is_refused_with_both_numbers(alices_program: Client, path: str) -> None:
    answer = alices_program.post(path, body(num_images=2))
    error = answer.json()
    assert (answer.status_code, error["code"]) == (400, "too_much_to_paint")
    assert (error["field"], error["limit"], error["actual"]) == ("mask", 0.1, 0.12)
    assert "0.12 megapixels are to be repainted in 2 images; at most 0.1 are allowed" in error["message"]
    assert not Generation.objects.exists()
    assert not SourceImage.objects.exists()


@pytest.mark.parametrize("path", ["/api/img2img", "/api/plan/"])
def test_what_is_kept_does_not_count(alices_program: Client, path: str) -> None:
    assert alices_program.post(path, body()).status_code == 200


def test_grown_masks_count_as_grown(alices_program: Client) -> None:
    assert alices_program.post("/api/plan/", body(mask_grow=110)).json()["code"] == "too_much_to_paint"


def test_the_command_refuses_it_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(IMAGE))
    (tmp_path / "m.png").write_bytes(png(MASK))
    with pytest.raises((CommandError, InvalidRequest), match="megapixels are to be repainted"):
        inpaint(tmp_path / "a.png", tmp_path / "m.png", "-o", tmp_path / "out.png", "--num-images", 2)


def test_an_accepted_generation_is_painted_under_a_lower_limit(alices_program: Client, settings: Any) -> None:
    accepted = alices_program.post("/api/img2img", body(), headers={"Prefer": "respond-async"})
    assert accepted.status_code in (200, 202)
    settings.MAX_PAINT_MEGAPIXELS = 0.01
    generation = Generation.objects.get()
    assert planner().plan_stored(generation.to_request(), generation.engine).mask.any()
