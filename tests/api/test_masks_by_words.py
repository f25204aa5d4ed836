"""`POST /api/masks/` with words: the fields that say how objects are found reach the networks."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from PIL import Image
from skimage import data

pytest.importorskip("torch", reason="the diffusion engine is not installed")

from inpainting.core.image import CanonicalImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Detection, Selection, candidates_of
from tests.api.bodies import text
from tests.conftest import png
from tests.support import tiny_vision_models

DETECTOR = "grounding-dino-tiny"
PHOTO = data.coffee()[:150, :220]
EVERY = {"box_threshold": 0, "text_threshold": 0}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, settings: Any, db: None) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    for slug, family in (("slimsam", "sam"), (DETECTOR, "grounding-dino")):
        folder = tiny_vision_models.saved(tmp_path / slug, family)
        call_command("pull_model", slug, "--yes", f"--from={folder}", stdout=StringIO())


def find(program: Client, **fields: Any) -> Any:
    body = {"image": text(png(PHOTO)), "words": "cup", "segmenter": DETECTOR, **fields}
    return program.post("/api/masks/", body, content_type="application/json")


@pytest.mark.parametrize(
    "fields",
    [EVERY, {**EVERY, "max_detections": 1}, {**EVERY, "max_detections": 1, "dilate": 40}, {**EVERY, "dilate": -2.5}],
    ids=str,
)
def test_the_fields_of_detection_change_the_mask(alices_program: Client, fields: dict[str, Any]) -> None:
    selection = Selection(words="cup", detection=Detection(**fields))
    (expected,) = candidates_of(registry.find(DETECTOR), CanonicalImage(PHOTO), selection)
    answer = find(alices_program, **fields)
    assert answer.status_code == 201, answer.content
    assert answer.json()["score"] == expected.score
    stored: Any = alices_program.get(answer.json()["file"])
    with Image.open(BytesIO(b"".join(stored.streaming_content))) as mask:
        assert np.array_equal(np.asarray(mask), expected.mask)


def test_a_plan_selects_by_words_what_the_stored_mask_selects(alices_program: Client) -> None:
    def mask_of(**sent: Any) -> str:
        body = {"input_image": text(png(PHOTO)), "prompt": "", **sent}
        answer = alices_program.post("/api/plan/", body, content_type="application/json")
        assert answer.status_code == 200, answer.content
        return str(answer.json()["mask"])

    stored = find(alices_program, **EVERY).json()["id"]
    assert mask_of(select={"words": "cup", "segmenter": DETECTOR, **EVERY}) == mask_of(mask=stored)


def test_nothing_is_found_above_a_threshold(alices_program: Client) -> None:
    answer = find(alices_program, box_threshold=1)
    assert (answer.status_code, answer.json()["area"], answer.json()["score"]) == (200, 0, None)
