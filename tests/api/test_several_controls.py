"""`controls`, the list of ControlNets, in the API: its forms and images, metadata, running again, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client
from skimage import data

from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.models import Generation
from tests.api.bodies import shape_a, shape_c, text, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

EDGES, DEPTH = {"slug": "canny", "strength": 0.5, "end": 0.6}, {"slug": "depth", "start": 0.2}
USES = (ControlUse("canny", 0.5, end=0.6), ControlUse("depth", start=0.2))
PostInpaint = Callable[..., Any]


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
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    answer = post_inpaint(controls=json.dumps([EDGES, DEPTH]))
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert [(use["slug"], use["strength"], use["start"], use["end"], use["type"]) for use in metadata["controls"]] == [
        ("canny", 0.5, 0.0, 0.6, None),
        ("depth", 1.0, 0.2, 1.0, None),
    ]
    assert (metadata["control"], metadata["control_strength"], metadata["control_end"]) == ("canny", 0.5, 0.6)
    (request,) = diffusion_requests
    assert request.settings.controls == USES
    assert request.conditioning_images.get("control_image") is not None


def test_json_sends_the_list_itself(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    body = shape_c(photo_png, mask_png, controls=[{"slug": "canny"}])
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    assert diffusion_requests[0].settings.controls == (ControlUse("canny"),)


def test_the_single_settings_are_the_first_of_the_list(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(control="depth", control_strength="0.5").json()["metadata"]["controls"] == [
        {"slug": "depth", "strength": 0.5, "start": 0.0, "end": 1.0, "type": None}
    ]
    assert post_inpaint(control="canny", controls=json.dumps([EDGES, DEPTH])).status_code == 200
    assert diffusion_requests[-1].settings.controls == USES


def test_running_again_keeps_the_list_or_takes_another(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
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


def colours(request: InpaintRequest) -> dict[str, int]:
    """The control images that reached the engine, each with its first value."""
    return {name: int(image.pixels[0, 0, 0]) for name, image in request.conditioning_images.items()}


def flat(value: int) -> bytes:
    return png(np.full((80, 100, 3), value, np.uint8))


GUIDES = {"control_image": 10, "control_image_2": 20, "control_image_3": 30, "control_image_4": 40}
KINDS = [{"slug": slug} for slug in ("depth", "scribble", "tile", "canny")]


@pytest.mark.parametrize("is_json", [False, True], ids=["form", "JSON"])
def test_each_controlnet_has_an_image_of_its_own(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest], is_json: bool
) -> None:
    if is_json:
        images: dict[str, Any] = {name: text(flat(value)) for name, value in GUIDES.items()}
        body = shape_c(photo_png, mask_png, controls=KINDS, **images)
        answer = alices_program.post("/api/img2img", body, content_type="application/json")
    else:
        images = {name: upload(flat(value), name=f"{name}.png") for name, value in GUIDES.items()}
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, controls=json.dumps(KINDS), **images))
    assert answer.status_code == 200, answer.json()
    metadata, (request,) = answer.json()["metadata"], diffusion_requests
    assert colours(request) == {"control_image": 10, "control_image_2": 20, "control_image_3": 30}
    assert "control_image_4 was not read: the input of canny is computed from the image." in metadata["warnings"]
    content = alices_program.get(f"/api/generations/{newest().pk}/").json()
    for name, image in newest().references.items():
        assert content[name] == f"/api/generations/{newest().pk}/{name.replace('_', '-')}/"
        assert alices_program.get(content[name]).status_code == 200
        assert content["metadata"][f"{name}_sha256"] == image.sha256
    assert set(newest().references) == set(GUIDES)


def test_a_further_image_of_the_wrong_kind_is_refused_by_its_name(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    answer = post_inpaint(controls=json.dumps(KINDS[:2]), control_image_2=upload(b"no image", name="a.png"))
    assert (answer.status_code, answer.json()["field"]) == (400, "control_image_2")
    answer = post_inpaint(controls=json.dumps(KINDS[:2]), ip_adapter_image_3="nothing")
    assert (answer.status_code, answer.json()["field"]) == (400, "ip_adapter_image_3")
    assert not diffusion_requests


def test_running_again_keeps_replaces_or_drops_the_images(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    second = upload(flat(20), name="second.png")
    assert post_inpaint(controls=json.dumps(KINDS[:2]), control_image_2=second).status_code == 200
    first = newest()
    assert run_again(alices_program, first, seed=5).status_code == 202
    assert colours(newest().to_request())["control_image_2"] == 20
    assert run_again(alices_program, first, control_image_2=text(flat(50))).status_code == 202
    assert colours(newest().to_request())["control_image_2"] == 50
    refused = run_again(alices_program, first, control_image_2=None)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (400, "field_invalid", "controls")
    assert run_again(alices_program, first, control_image_2=None, controls=KINDS[:1]).status_code == 202
    assert "control_image_2" not in newest().references


def test_running_again_with_another_first_controlnet_changes_the_first_of_the_list(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(controls=json.dumps([EDGES, DEPTH])).status_code == 200
    first = newest()
    assert run_again(alices_program, first, control="tile").status_code == 202
    assert newest().paint_settings.controls == (ControlUse("tile", 0.5, end=0.6), USES[1])
    again = newest()
    assert run_again(alices_program, again, control_strength=1.5, control_end=None).status_code == 202
    assert newest().paint_settings.controls == (ControlUse("tile", 1.5), USES[1])
    assert newest().requested_settings.settings.get("control") is None
    assert run_again(alices_program, again, control=None).status_code == 202
    assert (newest().paint_settings.controls, newest().paint_settings.control) == ((), None)


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
        ({"controls": '[{"slug": "nobody"}]'}, "adapter_not_found", "controls"),
        ({"controls": json.dumps([{"slug": f"a{number}"} for number in range(5)])}, "field_out_of_range", "controls"),
        ({"controls": '[{"slug": "canny"}]', "control": "depth"}, "field_invalid", "control"),
        ({"controls": '[{"slug": "canny"}]', "control_strength": "0.5"}, "field_invalid", "control_strength"),
        ({"controls": '[{"slug": "depth"}, {"slug": "scribble"}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": "canny", "type": 3}]'}, "field_invalid", "controls"),
        ({"controls": '[{"slug": null}]'}, "field_invalid", "controls"),
    ],
    ids=str,
)
def test_a_wrong_list_is_refused(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], fields: dict[str, str], code: str, field: str
) -> None:
    answer = post_inpaint(**fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert not diffusion_requests
