"""`controls`, the list of ControlNets, in the API: every way to send it, metadata, running again, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from skimage import data

from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.models import Generation
from tests import fake_diffusion
from tests.api.bodies import shape_a, shape_c, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

EDGES, DEPTH = {"slug": "canny", "strength": 0.5, "end": 0.6}, {"slug": "depth", "start": 0.2}
USES = (ControlUse("canny", 0.5, end=0.6), ControlUse("depth", start=0.2))
PostInpaint = Callable[..., Any]


@pytest.fixture
def engine(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """The requests that the engine received."""
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models()
    return fake_diffusion.record_requests(monkeypatch)


@pytest.fixture
def post_inpaint(alices_program: Client, photo_png: bytes, mask_png: bytes) -> PostInpaint:
    """post_inpaint(…) -> the answer to alice's form with these fields and a control image."""

    def post(**fields: Any) -> Any:
        guide = upload(png(data.coffee()[:80, :100]))
        return alices_program.post("/api/img2img", shape_a(photo_png, mask_png, control_image=guide, **fields))

    return post


def newest() -> Generation:
    return Generation.objects.latest("created_at")


def run_again(client: Client, generation: Generation, **fields: Any) -> Any:
    return client.post(f"/api/generations/{generation.pk}/run-again/", fields, content_type="application/json")


def test_a_form_sends_the_list_as_json_and_the_metadata_has_it_beside_the_first(
    post_inpaint: PostInpaint, engine: list[InpaintRequest]
) -> None:
    answer = post_inpaint(controls=json.dumps([EDGES, DEPTH]))
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert [(use["slug"], use["strength"], use["start"], use["end"], use["type"]) for use in metadata["controls"]] == [
        ("canny", 0.5, 0.0, 0.6, None),
        ("depth", 1.0, 0.2, 1.0, None),
    ]
    assert (metadata["control"], metadata["control_strength"], metadata["control_end"]) == ("canny", 0.5, 0.6)
    (request,) = engine
    assert request.settings.controls == USES
    assert request.control_image is not None


def test_json_sends_the_list_itself(
    alices_program: Client, photo_png: bytes, mask_png: bytes, engine: list[InpaintRequest]
) -> None:
    body = shape_c(photo_png, mask_png, controls=[{"slug": "canny"}])
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    assert engine[0].settings.controls == (ControlUse("canny"),)


def test_the_single_settings_are_the_first_of_the_list(post_inpaint: PostInpaint, engine: list[InpaintRequest]) -> None:
    assert post_inpaint(control="depth", control_strength="0.5").json()["metadata"]["controls"] == [
        {"slug": "depth", "strength": 0.5, "start": 0.0, "end": 1.0, "type": None}
    ]
    assert post_inpaint(control="canny", controls=json.dumps([EDGES, DEPTH])).status_code == 200
    assert engine[-1].settings.controls == USES


def test_running_again_keeps_the_list_or_takes_another(
    post_inpaint: PostInpaint, alices_program: Client, engine: list[InpaintRequest]
) -> None:
    assert post_inpaint(controls=json.dumps([EDGES, DEPTH])).status_code == 200
    first = newest()
    assert run_again(alices_program, first, seed=5).status_code == 202
    assert newest().paint_settings.controls == USES
    assert run_again(alices_program, first, controls=[DEPTH]).status_code == 202
    assert newest().paint_settings.controls == USES[1:]
    assert run_again(alices_program, newest(), controls=None).status_code == 202
    assert newest().paint_settings.controls == ()
    assert post_inpaint(control="canny").status_code == 200
    assert run_again(alices_program, newest(), controls=[DEPTH]).status_code == 202
    assert newest().paint_settings.control == "depth"


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"controls": "edges"}, "field_invalid", "controls"),
        ({"controls": '"edges"'}, "field_invalid", "controls"),
        ({"controls": '["edges"]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": 3}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny", "scale": 1}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny", "strength": "1"}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny", "strength": NaN}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny", "strength": 2.5}]'}, "field_out_of_range", "controls"),
        ({"controls": '[{"slug": "canny", "start": 0.6, "end": 0.5}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny", "type": "nothing"}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny"}, {"slug": "canny"}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "nobody"}]'}, "part_not_found", "controls"),
        ({"controls": json.dumps([{"slug": f"a{number}"} for number in range(5)])}, "field_out_of_range", "controls"),
        ({"controls": '[{"slug": "canny"}]', "control": "depth"}, "field_invalid", "control"),
        ({"controls": '[{"slug": "canny"}]', "control_strength": "0.5"}, "field_invalid", "control_strength"),
        ({"controls": '[{"slug": "depth"}, {"slug": "scribble"}]'}, "field_invalid", "controls"),
    ],
    ids=str,
)
def test_a_wrong_list_is_refused(
    post_inpaint: PostInpaint, engine: list[InpaintRequest], fields: dict[str, str], code: str, field: str
) -> None:
    answer = post_inpaint(**fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert not engine
