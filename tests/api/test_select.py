"""`select` in place of a mask: the object is selected and repainted by one request."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from accounts.models import User
from inpainting.api.concurrency_limits import limit_segmentations
from inpainting.core.image import CanonicalImage
from inpainting.models import Analysis, Generation, UploadedImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Hint, Selection
from tests.api.bodies import text
from tests.conftest import png
from tests.support.analyses import accepted

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
HINTS = {"points": [[50, 30], [5, 5, 0]]}
"""On the ball, and beside it."""


@pytest.fixture
def ball() -> NDArray[np.uint8]:
    """[64, 96, 3]: a red ball on grass."""
    rows, columns = np.mgrid[0:64, 0:96]
    pixels = np.empty((64, 96, 3), np.uint8)
    pixels[:] = (40, 140, 50)
    pixels[(rows - 30) ** 2 + (columns - 50) ** 2 <= 144] = (200, 30, 30)
    return pixels


def post(program: Client, path: str, ball: NDArray[np.uint8], **fields: Any) -> Any:
    body = {"input_image": text(png(ball)), "prompt": "", **fields}
    return program.post(path, body, content_type="application/json")


def mask_of(generation: Generation) -> NDArray[np.uint8]:
    assert generation.mask is not None
    return np.asarray(generation.mask.read().pixels[:, :, 0])


def test_what_is_selected_is_repainted_and_nothing_else(alices_program: Client, ball: NDArray[np.uint8]) -> None:
    found = alices_program.post("/api/masks/", {"image": text(png(ball)), **HINTS}, content_type="application/json")
    post(alices_program, "/api/img2img", ball, mask=found.json()["id"])
    answer = post(alices_program, "/api/img2img", ball, select=HINTS)
    assert answer.status_code == 200, answer.content
    once, twice = Generation.objects.order_by("-created_at")
    assert np.array_equal(mask_of(once), mask_of(twice))
    marked = mask_of(once) > 0
    assert 300 < np.count_nonzero(marked) < 700
    with once.images.get().file.open("rb") as file, Image.open(file) as image:
        painted = np.asarray(image)
    assert np.array_equal(painted[~marked], ball[~marked])
    assert not np.any(np.all(painted[30, 45:55] == ball[30, 50], axis=-1))
    assert UploadedImage.objects.count() == 1, "the mask of the first two requests alone"


def test_a_form_has_it_as_json(alices_program: Client, ball: NDArray[np.uint8]) -> None:
    form = {"image": SimpleUploadedFile("a.png", png(ball), "image/png"), "prompt": "", "select": json.dumps(HINTS)}
    assert alices_program.post("/api/img2img", form).status_code == 200
    assert Generation.objects.get().ignored_fields == []


def test_the_plan_shows_what_is_selected(alices_program: Client, ball: NDArray[np.uint8]) -> None:
    answer = post(alices_program, "/api/plan/", ball, select=HINTS)
    assert answer.status_code == 200, answer.content
    with Image.open(BytesIO(base64.b64decode(answer.json()["mask"].partition(",")[2]))) as mask:
        left, top, right, bottom = mask.convert("L").getbbox() or (0, 0, 0, 0)
    assert np.abs(np.subtract((left, top, right, bottom), (38, 18, 63, 43))).max() < 4
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("sent", "code", "part"),
    [
        ({"select": {}}, "field_missing", "point"),
        ({"select": {"words": "a ball"}}, "field_invalid", "words"),
        ({"select": {"words": 5}}, "field_invalid", "words"),
        ({"select": {"points": [[500, 30]]}}, "field_out_of_range", "x is 500"),
        ({"select": {"points": "here"}}, "field_invalid", "points"),
        ({"select": {"box": [1, 2]}}, "field_invalid", "box"),
        ({"select": {**HINTS, "max_detections": 2}}, "field_invalid", "max_detections"),
        ({"select": {**HINTS, "segmenter": "none"}}, "segmenter_not_found", "segmenter"),
        ({"select": "not JSON"}, "field_invalid", ""),
        ({"select": 5}, "field_invalid", ""),
        ({"select": [1]}, "field_invalid", ""),
        ({"select": {"points": [[50, 30], [50, 30, 0]]}}, "mask_empty", ""),
        ({"select": HINTS, "mask": text(png(np.zeros((64, 96), np.uint8)))}, "field_invalid", ""),
    ],
    ids=str,
)
def test_what_cannot_be_selected_is_refused(
    alices_program: Client, ball: NDArray[np.uint8], sent: dict[str, Any], code: str, part: str
) -> None:
    """The error names the field that was sent, and its message the part of it."""
    answer = post(alices_program, "/api/img2img", ball, **sent)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "select")
    assert part in answer.json()["message"]
    assert "SelectionForm" not in answer.json()["message"]
    assert not Generation.objects.exists()


class Model:
    """A segmenter whose model finds the ball, unless words name something else."""

    name = label = "model"
    reads = needs = frozenset({Hint.POINTS, Hint.WORDS})

    def loaded(self) -> None:
        """Its model is in memory."""

    def segment(self, image: CanonicalImage, selection: Selection) -> NDArray[np.uint8]:
        found = np.all(image.pixels == (200, 30, 30), axis=2) & (selection.words in ("", "the ball"))
        return np.where(found, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize("select", [{"words": "the ball"}, HINTS], ids=["words", "points"])
@pytest.mark.parametrize("role", ["all", "web"])
def test_a_model_selects_here_or_in_a_worker(
    alices_program: Client,
    ball: NDArray[np.uint8],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    select: dict[str, Any],
) -> None:
    settings.ROLE = role
    monkeypatch.setattr(registry, "find", lambda name: Model())
    with accepted() as ids:
        assert post(alices_program, "/api/img2img", ball, select=select).status_code == 200
        assert post(alices_program, "/api/plan/", ball, select=select).status_code == 200
    assert np.array_equal(mask_of(Generation.objects.get()) > 0, np.all(ball == (200, 30, 30), axis=2))
    assert len(ids) == (2 if role == "web" else 0)
    assert not Analysis.objects.exists()


@pytest.mark.parametrize("role", ["all", "web"])
def test_what_a_model_does_not_find_is_refused(
    alices_program: Client, ball: NDArray[np.uint8], settings: Settings, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    settings.ROLE = role
    monkeypatch.setattr(registry, "find", lambda name: Model())
    for select, code in (({"words": "a cat"}, "mask_empty"), ({"points": [[500, 30]]}, "field_out_of_range")):
        answer = post(alices_program, "/api/img2img", ball, select=select)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "select")
    assert not Generation.objects.exists()
    assert not Analysis.objects.exists()


def test_a_user_waits_for_few_selections_at_a_time(
    alice: User, alices_program: Client, ball: NDArray[np.uint8], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ROLE, settings.SEGMENTATIONS_PER_USER = "web", 1
    monkeypatch.setattr(registry, "find", lambda name: Model())
    with limit_segmentations(alice):
        assert post(alices_program, "/api/img2img", ball, select=HINTS).status_code == 429
    assert not Analysis.objects.exists()


def test_a_worker_that_takes_too_long_is_reported(
    alices_program: Client, ball: NDArray[np.uint8], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ROLE = "web"
    monkeypatch.setattr(registry, "find", lambda name: Model())
    monkeypatch.setattr("inpainting.generations.analyses.notify_workers", lambda queue: None)
    monkeypatch.setattr("inpainting.api.selecting.SELECT_SECONDS", 0.0)
    answer = post(alices_program, "/api/img2img", ball, select=HINTS)
    assert (answer.status_code, answer.json()["code"]) == (503, "try_again")
    assert answer.json()["message"] == "No worker has finished the selection in time."
    assert not Analysis.objects.exists()
    assert not Generation.objects.exists()
