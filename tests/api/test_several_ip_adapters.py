"""`ip_adapters`, the list of IP-Adapters, in the API: its images, metadata, running again, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client

from inpainting.core.request import InpaintRequest, IPAdapterUse
from inpainting.models import Generation
from tests.api.bodies import shape_a, shape_c, text, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

LISTED = [{"slug": "look", "scale": 0.6}, {"slug": "look"}]
USES = IPAdapterUse("look", 0.6), IPAdapterUse("look")
PostInpaint = Callable[..., Any]


@pytest.fixture
def post_inpaint(alices_program: Client, photo_png: bytes, mask_png: bytes) -> PostInpaint:
    """post_inpaint(count, …) -> the answer to alice's form with so many image prompts and these fields."""

    def post(count: int, **fields: Any) -> Any:
        images = {name: upload(flat(10 * number)) for number, name in enumerate(names(count), 1)}
        return alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **images, **fields))

    return post


def names(count: int) -> list[str]:
    return ["ip_adapter_image", "ip_adapter_image_2", "ip_adapter_image_3", "ip_adapter_image_4"][:count]


def flat(value: int) -> bytes:
    return png(np.full((30, 40, 3), value, np.uint8))


def newest() -> Generation:
    return Generation.objects.latest("created_at")


def run_again(client: Client, generation: Generation, **fields: Any) -> Any:
    return client.post(f"/api/generations/{generation.pk}/run-again/", fields, content_type="application/json")


def test_the_list_and_its_images_reach_the_engine_and_the_metadata(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    answer = post_inpaint(2, ip_adapters=json.dumps(LISTED))
    assert answer.status_code == 200, answer.json()
    metadata, (request,) = answer.json()["metadata"], diffusion_requests
    assert metadata["ip_adapters"] == [{"slug": "look", "scale": 0.6}, {"slug": "look", "scale": 1.0}]
    assert (metadata["ip_adapter"], metadata["ip_adapter_scale"]) == ("look", 0.6)
    assert {f"{name}_sha256" for name in names(2)} <= metadata.keys()
    assert request.settings.ip_adapters == USES
    assert [int(request.conditioning_images[name].pixels[0, 0, 0]) for name in names(2)] == [10, 20]


def test_json_sends_the_list_itself(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    images = {name: text(flat(90)) for name in names(4)}
    body = shape_c(photo_png, mask_png, ip_adapters=[{"slug": "look"}] * 4, **images)
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    assert diffusion_requests[0].settings.ip_adapters == (IPAdapterUse("look"),) * 4
    assert list(diffusion_requests[0].conditioning_images) == names(4)


def test_the_single_settings_are_the_first_of_the_list(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    metadata = post_inpaint(1, ip_adapter="look", ip_adapter_scale="0.5").json()["metadata"]
    assert metadata["ip_adapters"] == [{"slug": "look", "scale": 0.5}]
    assert post_inpaint(2, ip_adapter="look", ip_adapters=json.dumps(LISTED)).status_code == 200


def test_running_again_keeps_the_list_or_changes_its_first_entry(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(2, ip_adapters=json.dumps(LISTED)).status_code == 200
    first = newest()
    assert run_again(alices_program, first, seed=5).status_code == 202
    assert newest().paint_settings.ip_adapters == USES
    assert run_again(alices_program, first, ip_adapter_scale=0.3).status_code == 202
    assert newest().paint_settings.ip_adapters == (IPAdapterUse("look", 0.3), USES[1])
    assert run_again(alices_program, first, ip_adapter=None).status_code == 202
    assert newest().paint_settings.ip_adapters == ()
    assert run_again(alices_program, first, ip_adapters=[{"slug": "look"}]).status_code == 202
    note = "ip_adapter_image_2 was not read: the request names 1 IP-Adapter, and it is that of number 2."
    assert note in newest().warnings


@pytest.mark.parametrize(
    ("count", "fields", "code", "field"),
    [
        (1, {"ip_adapters": json.dumps(LISTED)}, "ip_adapter_image_missing", "ip_adapter_image_2"),
        (0, {"ip_adapters": json.dumps(LISTED)}, "ip_adapter_image_missing", "ip_adapter_image"),
        (1, {"ip_adapters": "look"}, "field_invalid", "ip_adapters"),
        (1, {"ip_adapters": '["look"]'}, "field_invalid", "ip_adapters"),
        (1, {"ip_adapters": '[{"slug": "look", "weight": 1}]'}, "field_invalid", "ip_adapters"),
        (1, {"ip_adapters": '[{"slug": "look", "scale": "1"}]'}, "field_invalid", "ip_adapters"),
        (1, {"ip_adapters": '[{"slug": "look", "scale": 1.5}]'}, "field_out_of_range", "ip_adapters"),
        (1, {"ip_adapters": '[{"slug": "nobody"}]'}, "adapter_not_found", "ip_adapters"),
        (4, {"ip_adapters": json.dumps([{"slug": "look"}] * 5)}, "field_out_of_range", "ip_adapters"),
        (1, {"ip_adapters": '[{"slug": "look"}]', "ip_adapter_scale": "0.5"}, "field_invalid", "ip_adapter_scale"),
    ],
    ids=str,
)
def test_a_wrong_list_is_refused(
    post_inpaint: PostInpaint,
    diffusion_requests: list[InpaintRequest],
    count: int,
    fields: dict[str, str],
    code: str,
    field: str,
) -> None:
    answer = post_inpaint(count, **fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert not diffusion_requests
