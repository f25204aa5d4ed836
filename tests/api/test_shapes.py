"""The three request shapes of `POST /api/img2img`, and unusual values in each."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from django.http import HttpResponse
from django.test import Client

from inpainting.core.codecs import decode_image
from inpainting.models import Generation
from tests.api.bodies import data_url, shape_a, shape_b, shape_c, text, upload
from tests.support.matrix import each_value_once

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

SHAPES = ["A", "B", "C"]


class Sender:
    """Post complete requests: sender.a(steps="20"), .b(...) and .c(...) return the answer for that shape."""

    def __init__(self, client: Client, image: bytes, mask: bytes) -> None:
        self.client, self.image, self.mask = client, image, mask

    def in_shape(self, shape: str, **changes: Any) -> HttpResponse:
        return {"A": self.a, "B": self.b, "C": self.c}[shape](**changes)

    def a(self, **changes: Any) -> HttpResponse:
        return self.form(shape_a(self.image, self.mask, **changes))

    def b(self, **changes: Any) -> HttpResponse:
        return self.form(shape_b(self.image, self.mask, **changes))

    def c(self, **changes: Any) -> HttpResponse:
        return self.json(json.dumps(shape_c(self.image, self.mask, **changes)))

    def form(self, body: dict[str, Any]) -> HttpResponse:
        return cast("HttpResponse", self.client.post("/api/img2img", body))

    def json(self, body: str | bytes, content_type: str = "application/json") -> HttpResponse:
        return cast("HttpResponse", self.client.post("/api/img2img", body, content_type=content_type))


@pytest.fixture
def sender(alices_program: Client, photo_png: bytes, mask_png: bytes) -> Sender:
    return Sender(alices_program, photo_png, mask_png)


def json_of(answer: HttpResponse) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(answer.content))


def test_the_three_shapes_give_the_same_result(sender: Sender) -> None:
    answers = [json_of(sender.in_shape(shape, seed=77, negative_prompt="people")) for shape in SHAPES]
    assert [answer["status"] for answer in answers] == ["success"] * 3
    results = [Client().get(answer["images"][0]).getvalue() for answer in answers]
    assert len({decode_image(result).image.pixels.tobytes() for result in results}) == 1
    for answer in answers:
        assert answer["metadata"]["prompt"] == "a stone path"
        assert answer["comfy_response"]["generated_images"][0]["url"] == answer["images"][0]


@pytest.mark.parametrize(
    ("sent", "kept", "shape"),
    each_value_once(
        [
            ({"cfg_scale": 9.5}, {"guidance_scale": 9.5}),
            ({"guidance_scale": 3, "cfg_scale": 9.5}, {"guidance_scale": 3.0}),
            ({"batch_size": 2}, {"num_images": 2}),
            ({"num_images": 3, "batch_size": 2}, {"num_images": 3}),
            ({"sampler_name": "dpmpp_2m"}, {"scheduler": "DPMSolverMultistepScheduler"}),
            ({"scheduler": "LCMScheduler", "sampler_name": "euler"}, {"scheduler": "LCMScheduler"}),
            ({"steps": 12, "width": 256, "height": 320}, {"steps": 12, "width": 256, "height": 320}),
            ({"mask_grow": 2, "mask_blur": 3}, {"mask_grow": 2, "mask_blur": 3}),
        ],
        SHAPES,
    ),
)
def test_a_setting_is_accepted_under_all_its_names(
    sender: Sender, shape: str, sent: dict[str, Any], kept: dict[str, Any]
) -> None:
    answer = sender.in_shape(shape, **sent)
    assert answer.status_code == 200
    settings = Generation.objects.get().settings
    assert {name: settings[name] for name in kept} == kept
    assert len(json_of(answer)["images"]) == settings["num_images"]


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("denoising_strength", 1.5, 1.0),
        ("denoising_strength", -1, 0.0),
        ("steps", 0, 1),
        ("steps", 10**6, 150),
        ("cfg_scale", 99.0, 20.0),
        ("batch_size", 9, 8),
        ("width", 10_000, 2048),
        ("height", 1, 64),
        ("seed", 2**63, 2**63 - 1),
        ("mask_blur", 257, 256),
        ("steps", 10**400, 150),
        ("height", -(10**400), 64),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_number_out_of_range_is_refused_in_shape_a_and_clamped_in_the_others(
    sender: Sender, name: str, value: float, limit: float
) -> None:
    public = {"cfg_scale": "guidance_scale", "batch_size": "num_images"}.get(name, name)
    refused = sender.a(**{name: value})
    problem = json_of(refused)
    assert (refused.status_code, problem["code"]) == (400, "field_out_of_range")
    seen = value if abs(value) < 10**20 else f"{str(value)[:24]}… ({len(str(value))} characters)"
    assert (problem["field"], problem["limit"], problem["actual"]) == (public, limit, seen)
    assert problem["message"].startswith(f"{public} is {seen}")
    for shape in ("B", "C"):
        answer = sender.in_shape(shape, **{name: value})
        assert answer.status_code == 200
        metadata = json_of(answer)["metadata"]
        assert any(warning.startswith(f"{public} was {seen}") for warning in metadata["warnings"])
        if public not in ("width", "height"):  # there the metadata has the size of the image
            assert metadata[public] == limit


def test_plain_fields_win_over_params(sender: Sender) -> None:
    answer = sender.form({**shape_b(sender.image, sender.mask, prompt="in params", seed=4), "prompt": "plain"})
    metadata = json_of(answer)["metadata"]
    assert (metadata["prompt"], metadata["seed"]) == ("plain", 4)


@pytest.mark.parametrize("shape", SHAPES)
def test_names_of_other_services_fall_back_with_a_warning(sender: Sender, shape: str) -> None:
    legacy = {"scheduler": "normal", "sampler_name": "res_multistep", "model_name": "dreamshaper.safetensors"}
    answer = sender.in_shape(shape, **legacy)
    assert answer.status_code == 200
    warnings = json_of(answer)["metadata"]["warnings"]
    for value in legacy.values():
        assert any(value in warning for warning in warnings)
    assert "scheduler" not in json_of(answer)["metadata"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_requested_by_its_slug_must_exist(sender: Sender, shape: str) -> None:
    answer = sender.in_shape(shape, model="../../etc/passwd")
    assert (answer.status_code, json_of(answer)["code"]) == (400, "model_not_found")
    assert "passwd" not in answer.content.decode()


@pytest.mark.parametrize("shape", SHAPES)
def test_fields_outside_the_contract_have_no_effect(sender: Sender, shape: str) -> None:
    mine = {"id": "0b0c7c1e-0000-4000-8000-000000000000", "owner": 1, "status": "succeeded", "fence": 9}
    assert sender.in_shape(shape, **mine).status_code == 200
    generation = Generation.objects.get()
    assert (str(generation.pk) != mine["id"], generation.fence) == (True, 1)


def test_ignored_settings_are_listed_if_they_were_sent(sender: Sender) -> None:
    assert json_of(sender.a(prompt=""))["metadata"]["ignored"] == ["denoising_strength"]
    everything = json_of(sender.c(only_masked_padding=32))["metadata"]["ignored"]
    assert set(everything) == {
        *("denoising_strength", "guidance_scale", "height", "negative_prompt", "only_masked_padding"),
        *("clip_skip", "prompt", "scheduler", "steps", "width"),
    }


@pytest.mark.parametrize("shape", ["B", "C"])
@pytest.mark.parametrize("seed", ["any", 1.5, True, None, -1, 0])
def test_an_unusual_seed_is_replaced_by_a_random_one(sender: Sender, shape: str, seed: Any) -> None:
    answer = sender.in_shape(shape, seed=seed)
    assert answer.status_code == 200
    assert 1 <= json_of(answer)["metadata"]["seed"] < 2**31


@pytest.mark.parametrize(
    "params",
    ["", "{", "[]", "null", '"text"', '{"steps": NaN}', '{"a": -Infinity}', "[" * 10_000, '{"prompt": "\\ud800"}'],
)
def test_params_that_are_no_object_are_refused_with_the_published_message(sender: Sender, params: str) -> None:
    answer = sender.form({**shape_a(sender.image, sender.mask), "params": params})
    if not params:  # a field left empty was not sent
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert json_of(answer)["message"].startswith("Invalid parameters format")


DEEP = '{"prompt": ' + "[" * 10_000 + "]" * 10_000 + "}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "field_missing"),
        ("{}", "field_missing"),
        ("[]", "body_invalid"),
        ("nonsense", "body_invalid"),
        ('{"steps": NaN}', "body_invalid"),
        ('{"steps": Infinity}', "body_invalid"),
        ('{"prompt": "\\ud800"}', "body_invalid"),
        (DEEP, "body_invalid"),
        ("9" * 5000, "body_invalid"),
        (b"\xff\xfe\xfd", "body_invalid"),
    ],
)
def test_malformed_json_is_refused(sender: Sender, body: str | bytes, code: str) -> None:
    answer = sender.json(body)
    assert (answer.status_code, json_of(answer)["code"]) == (400, code)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": True}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": [20]}, "steps"),
        ({"steps": int("9" * 2000)}, None),  # clamped
        ({"denoising_strength": True}, "denoising_strength"),
        ({"denoising_strength": {}}, "denoising_strength"),
        ({"denoising_strength": int("9" * 2000)}, "denoising_strength"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "x" * 2**20}, "prompt"),
        ({"prompt": "a\x00b"}, "prompt"),
        ({"mask_polarity": "x" * 2**20}, "mask_polarity"),
        ({"engine": "x" * 61}, "engine"),
        ({"engine": {}}, "engine"),
        ({"input_image": 5}, "input_image"),
        ({"input_image": None}, "input_image"),
        ({"mask": {}}, "mask"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(
    sender: Sender, changes: dict[str, Any], field: str | None
) -> None:
    answer = sender.c(**changes)
    if field is None:
        assert answer.status_code == 200
        return
    assert (answer.status_code, json_of(answer)["field"]) == (400, field)
    assert len(answer.content) < 2000
    assert not Generation.objects.exists()


def test_a_number_that_overflows_is_refused(sender: Sender) -> None:
    body = json.dumps(shape_c(sender.image, sender.mask)).replace(
        '"denoising_strength": 0.75', '"denoising_strength": 1e309'
    )
    answer = sender.json(body)
    assert (answer.status_code, json_of(answer)["field"]) == (400, "denoising_strength")


def test_the_last_of_two_equal_json_keys_is_used(sender: Sender) -> None:
    whole = json.dumps(shape_c(sender.image, sender.mask))
    assert json_of(sender.json(whole[:-1] + ', "prompt": "the last"}'))["metadata"]["prompt"] == "the last"


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "image/png", "nonsense", ""])
def test_a_body_of_another_type_is_refused(sender: Sender, content_type: str) -> None:
    answer = sender.json(json.dumps(shape_c(sender.image, sender.mask)), content_type=content_type)
    assert answer.status_code in (400, 415)
    assert json_of(answer)["status"] == "error"


@pytest.mark.parametrize("charset", ["zlib", "base64", "utf-7", "nonsense", "utf-16"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_an_unknown_charset_is_ignored(sender: Sender, charset: str, kind: str) -> None:
    body = json.dumps(shape_c(sender.image, sender.mask)) if "json" in kind else "prompt=a"
    answer = sender.client.generic("POST", "/api/img2img", body.encode(), content_type=f"{kind}; charset={charset}")
    assert answer.status_code == (200 if "json" in kind else 400)


def test_a_json_body_over_the_cap_is_refused(sender: Sender, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = sender.json(b" " * 1001)
    assert (answer.status_code, json_of(answer)["code"]) == (413, "body_too_large")


def test_a_mask_over_ten_megabytes_as_text_is_a_413(sender: Sender) -> None:
    answer = sender.c(mask=text(b"\0" * (10 * 2**20 + 1)))
    problem = json_of(answer)
    assert (answer.status_code, problem["code"], problem["limit"]) == (413, "mask_too_large", 10 * 2**20)


# Waiting and repeated requests


def test_the_same_key_and_body_are_the_same_generation(sender: Sender) -> None:
    headers = {"Idempotency-Key": "one"}
    first, again = (
        json_of(
            cast(
                "HttpResponse",
                sender.client.post("/api/img2img" + slash, shape_a(sender.image, sender.mask), headers=headers),
            )
        )
        for slash in ("", "/")
    )
    assert first["id"] == again["id"]
    assert Generation.objects.count() == 1
    other = sender.client.post("/api/img2img", shape_a(sender.image, sender.image, prompt="b"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        ("respond-async", 202, "respond-async"),
        ("wait=0", 202, "wait=0"),
        ("respond-async, wait=60", 200, None),
        ("wait=60", 200, None),
        ("handling=lenient", 200, None),
    ],
)
def test_the_prefer_header_sets_how_long_to_wait(sender: Sender, prefer: str, status: int, applied: str | None) -> None:
    body = shape_a(sender.image, sender.mask)
    answer = sender.client.post("/api/img2img", body, headers={"Prefer": prefer})
    assert answer.status_code == status
    assert answer.headers.get("Preference-Applied") == applied
    if status == 202:
        assert set(answer.json()) == {"status", "id", "url", "position", "eta"}


def test_an_image_error_names_its_field(sender: Sender) -> None:
    for changes, field in (
        ({"input_image": data_url(b"no image")}, "input_image"),
        ({"mask": text(b"none")}, "mask"),
    ):
        problem = json_of(sender.c(**changes))
        assert problem["field"] == field
        assert problem["code"].startswith(("image_", "mask_"))


def test_a_form_takes_an_image_as_base64(sender: Sender) -> None:
    body = {"image": data_url(sender.image), "mask": upload(sender.mask), "prompt": ""}
    assert sender.form(body).status_code == 200
