"""Control images and IP-Adapter images in the API: every way to send them, storage, metadata, errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from skimage import data

from accounts.models import User
from inpainting.core.codecs import decode_image
from inpainting.core.conditioning_images import prepare_control_image, prepare_whole_image
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.generations.delete import delete
from inpainting.models import Generation, InferenceModel, ReferenceImage
from tests.api.bodies import data_url, shape_a, shape_b, shape_c, text, upload
from tests.conftest import png
from tests.core import hostile

pytestmark = pytest.mark.django_db(transaction=True)

DEPTH = data.coffee()[:80, :100]
LOOK = np.dstack([data.chelsea()[:70, :90], np.full((70, 90), 128, np.uint8)])
ALL = {"control": "depth", "ip_adapter": "look"}
PostInpaint = Callable[..., Any]


@pytest.fixture
def post_inpaint(alices_program: Client, photo_png: bytes, mask_png: bytes) -> PostInpaint:
    """post_inpaint(…) -> the answer to alice's form with these fields."""
    return lambda **fields: alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields))


def both_images() -> dict[str, Any]:
    return {
        "control_image": upload(png(DEPTH), name="depth.png"),
        "ip_adapter_image": upload(png(LOOK), name="look.png"),
    }


def all_images() -> dict[str, Any]:
    return {**both_images(), "reference_image": upload(png(LOOK), name="other.png")}


def newest() -> Generation:
    return Generation.objects.latest("created_at")


def test_both_images_reach_the_engine_and_are_stored_and_listed(
    post_inpaint: PostInpaint,
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    photo: NDArray[np.uint8],
) -> None:
    numbers = {"control_strength": "1.5", "control_start": "0.1", "control_end": "0.9", "ip_adapter_scale": "0.4"}
    answer = post_inpaint(**ALL, **numbers, **both_images())
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert {name: metadata[name] for name in (*ALL, *numbers)} == ALL | {name: float(numbers[name]) for name in numbers}
    assert metadata["engine"] == "diffusion"
    assert set(metadata["ignored"]).isdisjoint({*ALL, *numbers})
    assert any("control image is 100x80, the image 96x64" in warning for warning in metadata["warnings"])

    (request,) = diffusion_requests
    guide, look = (
        prepare_control_image(CanonicalImage(DEPTH), Size(96, 64)),
        prepare_whole_image(CanonicalImage(LOOK)),
    )
    whole = newest().to_request()
    assert whole.conditioning_images["control_image"].equals(guide)
    assert request.conditioning_images["control_image"].size == request.image.size
    assert request.conditioning_images["ip_adapter_image"].equals(look)
    assert request.settings.control_strength == 1.5

    content = alices_program.get(f"/api/generations/{newest().pk}/").json()
    for name, path, image in (
        ("control_image", "control-image", guide),
        ("ip_adapter_image", "ip-adapter-image", look),
    ):
        assert content[name] == f"/api/generations/{newest().pk}/{path}/"
        answer = alices_program.get(content[name])
        sent = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        assert decode_image(sent).image.equals(image)
        assert hashlib.sha256(sent).hexdigest() == content["metadata"][f"{name}_sha256"]
        assert answer["Content-Type"] == "image/png"
        assert alices_program.get(content[name], headers={"If-None-Match": answer["ETag"]}).status_code == 304
        assert alices_program.get(content[name], headers={"Range": "bytes=0-7"}).status_code == 206


def test_a_generation_without_them_has_null_links(post_inpaint: PostInpaint, alices_program: Client) -> None:
    assert post_inpaint().status_code == 200
    content = alices_program.get(f"/api/generations/{newest().pk}/").json()
    assert (content["control_image"], content["ip_adapter_image"]) == (None, None)
    assert "reference_image_2" not in content
    assert not any(name.endswith("_sha256") for name in content["metadata"])
    for path in ("control-image", "ip-adapter-image"):
        answer = alices_program.get(f"/api/generations/{newest().pk}/{path}/")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_reference_images_reach_a_model_that_takes_them(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    names = ["reference_image", *(f"reference_image_{number}" for number in (2, 3, 4))]
    looks = {name: np.roll(DEPTH, number) for number, name in enumerate(names)} | {"reference_image_4": LOOK[..., :3]}
    for family, read_names in (("flux2-klein", names), ("flux-kontext", names), ("qwen-image-edit", names[:3])):
        InferenceModel.objects.filter(slug="tiny").update(family=family, scheduler="FlowMatchEulerDiscreteScheduler")
        sent = {name: upload(png(pixels), name=f"{name}.png") for name, pixels in looks.items()}
        answer = post_inpaint(prompt="as in the other picture", **sent)
        assert answer.status_code == 200, answer.json()
        read = diffusion_requests[-1].conditioning_images
        assert list(read) == read_names
        assert all(np.array_equal(read[name].pixels, looks[name]) for name in read_names)
        warnings = answer.json()["metadata"]["warnings"]
        too_many = "reference_image_4 was not read: Qwen-Image-Edit models take 3 reference images at most."
        assert [warning for warning in warnings if "reference" in warning] == [too_many] * (read_names != names)
        stored = newest().to_request().conditioning_images
        assert stored.keys() == looks.keys()
        content = alices_program.get(f"/api/generations/{newest().pk}/").json()
        assert content["reference_image_4"] == f"/api/generations/{newest().pk}/reference-image-4/"


@pytest.mark.parametrize("write", [text, data_url], ids=["base64", "data URL"])
def test_json_takes_them_as_base64(
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    photo_png: bytes,
    mask_png: bytes,
    write: Callable[..., str],
) -> None:
    images = {"control_image": write(png(DEPTH)), "ip_adapter_image": write(png(LOOK))}
    body = shape_c(photo_png, mask_png, **ALL, **images, control_strength=9)
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    assert answer.json()["metadata"]["control_strength"] == 2.0
    assert "control_strength was 9.0; 2.0 was used." in answer.json()["metadata"]["warnings"]
    assert diffusion_requests[0].conditioning_images.keys() == {"control_image", "ip_adapter_image"}


def test_a_form_with_params_takes_them_as_files(
    alices_program: Client, diffusion_requests: list[InpaintRequest], photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/img2img", {**shape_b(photo_png, mask_png, **ALL), **both_images()})
    assert answer.status_code == 200, answer.json()
    assert diffusion_requests[0].conditioning_images.keys() == {"control_image", "ip_adapter_image"}


def test_external_urls_are_fetched_by_download_image_and_our_own_links_are_read_from_storage(
    alices_program: Client,
    bobs_program: Client,
    diffusion_requests: list[InpaintRequest],
    photo_png: bytes,
    mask_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request: list[tuple[str, str]] = []

    def fetch(url: str, *, field: str, policy: Any) -> bytes:
        request.append((url, field))
        return png(DEPTH)

    monkeypatch.setattr("inpainting.api.images.download_image", fetch)
    images = {name: f"https://pictures.example/{name}.png" for name in ("control_image", "ip_adapter_image")}

    def post(client: Client, **changes: str) -> Any:
        body = shape_c(photo_png, mask_png, **ALL, **{**images, **changes})
        return client.post("/api/img2img", body, content_type="application/json")

    assert post(alices_program).status_code == 200
    assert request == [(url, name) for name, url in images.items()]
    content = alices_program.get(f"/api/generations/{newest().pk}/").json()
    own = {name: f"http://testserver{content[name]}" for name in images}
    assert post(alices_program, **own).status_code == 200
    assert len(request) == 2
    assert np.array_equal(diffusion_requests[1].conditioning_images["ip_adapter_image"].pixels, DEPTH)
    for name, link in own.items():
        answer = post(bobs_program, **{name: link})
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "url_not_allowed", name)
    answer = alices_program.get(content["control_image"])
    assert answer.status_code == 200
    assert bobs_program.get(content["control_image"]).status_code == 404


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"control": "depth"}, "control_image_missing", "control_image"),
        ({"control": "scribble"}, "control_image_missing", "control_image"),
        ({"ip_adapter": "look"}, "ip_adapter_image_missing", "ip_adapter_image"),
        ({"control": "missing"}, "adapter_not_found", "control"),
        ({"control": "look"}, "adapter_not_found", "control"),
        ({"control": "../../etc/passwd"}, "adapter_not_found", "control"),
        ({"ip_adapter": "depth"}, "adapter_not_found", "ip_adapter"),
        ({"control": "missing", "engine": "quick-fill"}, "adapter_not_found", "control"),
        ({"control": "x" * 201}, "field_out_of_range", "control"),
        ({"control": "canny", "control_strength": "2.1"}, "field_out_of_range", "control_strength"),
        ({"control": "canny", "control_start": "-0.1"}, "field_out_of_range", "control_start"),
        ({"control": "canny", "control_end": "1.1"}, "field_out_of_range", "control_end"),
        ({"control": "canny", "control_start": "0.6", "control_end": "0.5"}, "field_invalid", "control_start"),
        ({"ip_adapter": "look", "ip_adapter_scale": "nan"}, "field_invalid", "ip_adapter_scale"),
        ({"ip_adapter": "look", "ip_adapter_scale": "1.5"}, "field_out_of_range", "ip_adapter_scale"),
    ],
)
def test_a_missing_unknown_or_out_of_range_field_is_refused(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], fields: dict[str, str], code: str, field: str
) -> None:
    answer = post_inpaint(**fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    if code == "adapter_not_found":
        assert ("depth" if field == "control" else "look") in answer.json()["message"]
    assert (diffusion_requests, Generation.objects.count()) == ([], 0)


def test_a_part_that_is_not_installed_or_of_another_family_is_refused(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    InferenceModel.objects.filter(slug="canny").update(state="not_installed")
    answer = post_inpaint(control="canny")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "model_unavailable", "control")
    InferenceModel.objects.filter(slug="inpaint").update(family="sdxl")
    answer = post_inpaint(control="inpaint")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "adapter_unfit", "control")


@pytest.mark.parametrize("control", ["canny", "inpaint", "tile"])
def test_a_control_that_needs_no_image_runs_without_one_and_without_a_prompt(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], control: str
) -> None:
    answer = post_inpaint(prompt="", control=control)
    assert answer.status_code == 200, answer.json()
    assert answer.json()["metadata"]["engine"] == "diffusion"
    assert diffusion_requests[0].conditioning_images.get("control_image") is None


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({}, "control_image was not read: the request names no control."),
        ({}, "ip_adapter_image was not read: the request names no ip_adapter."),
        ({"control": "canny"}, "control_image was not read: the input of canny is computed from the image."),
        ({"engine": "quick-fill", **ALL}, "control_image was not read: quick-fill paints without a control."),
        ({"engine": "quick-fill", **ALL}, "ip_adapter_image was not read: quick-fill paints without an IP-Adapter."),
        ({"prompt": "a bus"}, "reference_image was not read: Stable Diffusion models take no reference images."),
        ({"engine": "quick-fill"}, "reference_image was not read: quick-fill paints without reference images."),
    ],
)
def test_an_unused_image_gives_a_warning_in_the_answer_and_in_the_plan(
    post_inpaint: PostInpaint,
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    photo_png: bytes,
    mask_png: bytes,
    fields: dict[str, str],
    warning: str,
) -> None:
    answer = post_inpaint(**fields, **all_images())
    assert answer.status_code == 200, answer.json()
    assert warning in answer.json()["metadata"]["warnings"]
    for request in diffusion_requests:
        assert request.conditioning_images.get("control_image") is None
    foreseen = alices_program.post("/api/plan/", shape_a(photo_png, mask_png, **fields, **all_images()))
    assert warning in foreseen.json()["warnings"]
    if "engine" in fields:
        named = {"control", "ip_adapter"} & fields.keys()
        assert named <= set(foreseen.json()["ignored"])


def test_a_plan_requires_the_same_images_and_stores_nothing(
    alices_program: Client, diffusion_requests: list[InpaintRequest], photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/plan/", shape_a(photo_png, mask_png, control="depth"))
    assert (answer.status_code, answer.json()["code"]) == (400, "control_image_missing")
    answer = alices_program.post("/api/plan/", shape_a(photo_png, mask_png, **ALL, **both_images()))
    assert answer.status_code == 200, answer.json()
    assert not ReferenceImage.objects.exists()


@pytest.mark.parametrize("field", ["control_image", "ip_adapter_image"])
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"<html>", 400, "image_type_unsupported"),
        (b"", 400, "image_empty"),
        (hostile.claims(100_000, 100_000), 400, "image_dimensions"),
        (hostile.flipped_idat_bit(), 400, "image_damaged"),
        (hostile.zipped(), 400, "image_type_unsupported"),
        (hostile.tiny_png(hostile.text_bomb(b"zTXt", 2**26)), 400, "image_damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(32 * 2**20), 413, "image_too_large"),
    ],
    ids=["page", "nothing", "ten gigapixels", "flipped bit", "zip", "text bomb", "too many bytes"],
)
def test_a_hostile_image_is_refused_by_field_and_nothing_is_stored(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], field: str, sent: bytes, status: int, code: str
) -> None:
    answer = post_inpaint(**ALL, **{**both_images(), field: upload(sent)})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)
    assert diffusion_requests == []
    assert not Generation.objects.exists()


@pytest.mark.parametrize("value", [7, ["x"], {"a": 1}, "no base64!", "ftp://pictures.example/a.png"])
def test_json_that_is_no_image_is_refused(
    alices_program: Client, diffusion_requests: list[InpaintRequest], photo_png: bytes, mask_png: bytes, value: Any
) -> None:
    body = shape_c(photo_png, mask_png, control="depth", control_image=value)
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert (answer.status_code, answer.json()["field"]) == (400, "control_image")


def run_again(client: Client, generation: Generation, **changes: Any) -> Any:
    return client.post(f"/api/generations/{generation.pk}/run-again/", changes)


def test_running_again_keeps_the_images_or_takes_new_ones(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(**ALL, **both_images()).status_code == 200
    first = newest()
    assert run_again(alices_program, first, control_strength="0.5").status_code == 202
    second = newest()
    assert second.parent_id == first.pk
    assert {image.sha256 for image in second.references.values()} == {
        image.sha256 for image in first.references.values()
    }
    assert {image.pk for image in second.references.values()}.isdisjoint(
        image.pk for image in first.references.values()
    )
    other = upload(png(255 - DEPTH))
    assert run_again(alices_program, second, control="scribble", control_image=other).status_code == 202
    third = newest().to_request()
    assert third.settings.control == "scribble"
    assert third.conditioning_images["control_image"].equals(
        prepare_control_image(CanonicalImage(255 - DEPTH), Size(96, 64))
    )
    assert third.conditioning_images["ip_adapter_image"].equals(prepare_whole_image(CanonicalImage(LOOK)))
    assert any("was scaled to the image" in warning for warning in newest().warnings)


def test_running_again_without_a_control_warns_of_its_unused_image(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(**ALL, **both_images()).status_code == 200
    answer = alices_program.post(
        f"/api/generations/{newest().pk}/run-again/", json.dumps({"control": ""}), content_type="application/json"
    )
    assert answer.status_code == 202
    assert (newest().paint_settings.control, newest().paint_settings.ip_adapter) == (None, "look")
    assert "control_image was not read: the request names no control." in newest().warnings
    assert diffusion_requests[-1].conditioning_images.get("control_image") is None


@pytest.mark.parametrize("is_form", [False, True], ids=["json", "form"])
def test_running_again_resets_fields_that_are_sent_empty(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest], is_form: bool
) -> None:
    sent = {"engine": "diffusion", "model": "tiny", "denoising_strength": 0.5, "steps": 7, "guidance_scale": 3}
    sent |= {"prompt": "a stone path", "scheduler": "DDIMScheduler", **ALL}
    assert post_inpaint(**sent, **both_images()).status_code == 200
    first = newest()

    def run_again(**changes: str | None) -> Any:
        url = f"/api/generations/{first.pk}/run-again/"
        if is_form:
            return alices_program.post(url, {name: value or "" for name, value in changes.items()})
        return alices_program.post(url, changes, content_type="application/json")

    def requested(**changes: str | None) -> dict[str, Any]:
        answer = run_again(**changes)
        assert answer.status_code == 202, answer.json()
        settings: dict[str, Any] = alices_program.get(answer.json()["url"]).json()["metadata"]["requested"]
        return settings

    def without(*names: str, **others: str) -> dict[str, Any]:
        return {name: value for name, value in sent.items() if name not in names} | others

    assert requested() == sent
    assert requested(steps=None, cfg_scale=None, denoising_strength=None) == without(
        "steps", "guidance_scale", "denoising_strength"
    )
    assert (
        requested(model="auto", scheduler=None)
        == requested(model_name=None, sampler_name=None)
        == without("model", "scheduler")
    )
    assert requested(scheduler="normal") == requested(scheduler="") == without("scheduler")
    assert requested(engine=None, control=None, ip_adapter=None, ip_adapter_image=None) == without(*ALL, engine="auto")
    assert set(newest().references) == {"control_image"}
    assert run_again(engine="erase", model="auto").json()["code"] in {"model_unavailable", "engine_not_installed"}


@pytest.mark.parametrize("name", ["control_image", "ip_adapter_image"])
def test_running_again_with_a_missing_file_is_refused_until_a_new_one_is_sent(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest], name: str
) -> None:
    assert post_inpaint(**ALL, **both_images()).status_code == 200
    first = newest()
    Path(first.references[name].file.path).unlink()
    answer = run_again(alices_program, first)
    assert (answer.status_code, answer.json()["code"]) == (400, "image_gone")
    assert alices_program.get(f"/api/generations/{first.pk}/{name.replace('_', '-')}/").status_code == 410
    assert run_again(alices_program, first, **{name: both_images()[name]}).status_code == 202


def test_the_same_idempotency_key_runs_again_once_and_reads_no_image_twice(
    post_inpaint: PostInpaint,
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert post_inpaint(**ALL, **both_images()).status_code == 200
    first, url = newest(), f"/api/generations/{newest().pk}/run-again/"
    answers = []
    for _ in "ab":
        answers.append(
            alices_program.post(
                url, {"control_image": both_images()["control_image"]}, headers={"Idempotency-Key": "k"}
            )
        )
        monkeypatch.setattr("inpainting.api.native.generations.conditioning_images_in", None)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"] != str(first.pk)


def test_a_batch_uses_them_for_every_image_and_stores_them_once(
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    photo: NDArray[np.uint8],
    photo_png: bytes,
    mask_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"images": [upload(photo_png), upload(png(photo[:, ::-1]))], "masks": [upload(mask_png)]}
    body = {**files, "prompt": "a lawn", **ALL}
    answer = alices_program.post("/api/batches/", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "control_image_missing")
    wide, high = [upload(photo_png), upload(png(photo[:, ::-1]))], upload(png(np.rot90(photo)))
    files = {"images": [wide[0], high, wide[1]], "masks": [upload(mask_png)]}
    write, written = ReferenceImage.from_image, []

    def noted(owner: User, image: CanonicalImage) -> ReferenceImage:
        written.append(image.size)
        return write(owner, image)

    monkeypatch.setattr(ReferenceImage, "from_image", noted)
    answer = alices_program.post("/api/batches/", {**files, "prompt": "a lawn", **ALL, **both_images()})
    assert answer.status_code == 202, answer.json()
    assert len(diffusion_requests) == 3
    for request in diffusion_requests:
        assert request.conditioning_images.keys() == {"control_image", "ip_adapter_image"}
    first, second, third = Generation.objects.order_by("created_at")
    for whole in (first.to_request(), second.to_request()):
        assert whole.conditioning_images["control_image"].equals(
            prepare_control_image(CanonicalImage(DEPTH), whole.image.size)
        )
        assert whole.conditioning_images["ip_adapter_image"].equals(prepare_whole_image(CanonicalImage(LOOK)))
    # Each is stored once, the control image once for each image size.
    assert len(written) == ReferenceImage.objects.count() == 3
    guides = [each.references["control_image"] for each in (first, second, third)]
    assert guides[0] == guides[2] != guides[1]
    assert (
        first.references["ip_adapter_image"]
        == second.references["ip_adapter_image"]
        == third.references["ip_adapter_image"]
    )
    assert delete(first)
    assert Generation.objects.get(pk=third.pk).to_request().conditioning_images.get("control_image") is not None
    assert delete(third)
    assert delete(second)
    assert not ReferenceImage.objects.exists()
    answer = alices_program.post("/api/batches/", {**files, "prompt": "", **ALL, **both_images(), "control_image": "x"})
    assert (answer.status_code, answer.json()["field"]) == (400, "control_image")


def test_they_count_towards_stored_bytes(
    post_inpaint: PostInpaint, alices_program: Client, alice: User, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint().status_code == 200
    before = alices_program.get("/api/usage/").json()["stored_bytes"]
    assert post_inpaint(**ALL, **both_images()).status_code == 200
    after = alices_program.get("/api/usage/").json()["stored_bytes"]
    assert sum(image.byte_count for image in newest().references.values()) > 1000
    assert after - before > sum(image.byte_count for image in newest().references.values())
