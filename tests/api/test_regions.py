"""`regions`, the list of regions with prompts, in the API: its masks, metadata, running again, errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from numpy.typing import NDArray
from PIL import Image

from accounts.models import User
from inpainting import families
from inpainting.admin.details import recipe_rows
from inpainting.core.adapter_uses import REGIONS, LoraUse, Region
from inpainting.core.request import InpaintRequest
from inpainting.core.settings_table import MAX_LORAS
from inpainting.models import Generation, InferenceModel, Lora
from inpainting.worker.fleet import needed_by
from inpainting.worker.run_time_estimates import generation_workload
from tests.api.bodies import shape_a, shape_c, text, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

LISTED = [{"prompt": "a cat", "weight": 0.6}, {"prompt": "a boat"}]
TWO = Region("a cat", 0.6), Region("a boat")
PostInpaint = Callable[..., Any]


def masks(count: int) -> list[bytes]:
    """Masks that mark the whole image with another grey each, the last one with white."""
    return [png(np.full((64, 96), 255 - 10 * number, np.uint8)) for number in reversed(range(count))]


def named(count: int, form: Callable[[bytes], Any]) -> dict[str, Any]:
    return {name: form(mask) for name, mask in zip(REGIONS.images, masks(count), strict=False)}


@pytest.fixture
def post_inpaint(alices_program: Client, photo_png: bytes, mask_png: bytes) -> PostInpaint:
    """post_inpaint(count, …) -> the answer to alice's form with so many masks of regions and these fields."""

    def post(count: int, *, path: str = "/api/img2img", **fields: Any) -> Any:
        listed = {name: json.dumps(value) if name == "regions" else value for name, value in fields.items()}
        return alices_program.post(path, shape_a(photo_png, mask_png, **named(count, upload), **listed))

    return post


@pytest.fixture
def loras(diffusion_requests: list[InpaintRequest]) -> None:
    """LoRAs for the fake model, `lora-0` and so on, one more than a request may name, and one for another family."""
    for number in range(MAX_LORAS + 1):
        Lora.objects.create(slug=f"lora-{number}", label="", family="sd", sha256=f"{number:064}", size_bytes=1)
    Lora.objects.create(slug="other", label="", family="sdxl", sha256="f" * 64, size_bytes=1)
    for lora in Lora.objects.all():
        lora.path.parent.mkdir(parents=True, exist_ok=True)
        lora.path.write_bytes(b"x")


def lora(number: int, weight: float = 1.0) -> dict[str, Any]:
    return {"slug": f"lora-{number}", "weight": weight}


def newest() -> Generation:
    return Generation.objects.latest("created_at")


def pixels_of(request: InpaintRequest) -> dict[str, int]:
    return {name: int(image.pixels[0, 0, 0]) for name, image in request.conditioning_images.items()}


def test_regions_and_their_masks_reach_the_engine_and_the_metadata(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest]
) -> None:
    answer = post_inpaint(2, prompt="", regions=LISTED)
    assert answer.status_code == 200, answer.json()
    metadata, (request,) = answer.json()["metadata"], diffusion_requests
    assert metadata["regions"] == [{"prompt": "a cat", "weight": 0.6}, {"prompt": "a boat", "weight": 1.0}]
    assert metadata["engine"] == "diffusion"
    assert metadata["engine_reason"].startswith("Regions have prompts")
    assert {"region_mask_sha256", "region_mask_2_sha256"} <= metadata.keys()
    assert request.settings.regions == TWO
    assert pixels_of(request) == {"region_mask": 245, "region_mask_2": 255}
    assert all(image.size == request.image.size for image in request.conditioning_images.values())
    assert generation_workload(newest()).steps == 3 * (request.settings.steps or 0)


def test_json_sends_up_to_eight(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    body = shape_c(photo_png, mask_png, regions=[{"prompt": "a cat"}] * 8, **named(8, text))
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    assert diffusion_requests[0].settings.regions == (Region("a cat"),) * 8
    assert list(diffusion_requests[0].conditioning_images) == list(REGIONS.images)


def test_white_is_the_region_and_what_is_transparent_is_outside(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    mask: NDArray[np.uint8] = np.full((64, 96, 4), 255, np.uint8)
    mask[:32, :, 3] = 0
    mask[:, 48:, :3] = 0
    fields = {"regions": json.dumps([{"prompt": "a cat"}]), "region_mask": upload(png(mask))}
    for polarity in ("black_repaints", "white_repaints"):
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, mask_polarity=polarity, **fields))
        assert answer.status_code == 200, answer.json()
        fields["region_mask"] = upload(png(mask))
    for request in diffusion_requests:
        seen = request.conditioning_images["region_mask"].pixels
        assert [int(seen[y, x, 0]) for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1))] == [0, 0, 255, 0]


def test_running_again_keeps_regions_or_replaces_them(
    post_inpaint: PostInpaint, alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(2, regions=LISTED).status_code == 200
    first, link = newest(), f"/api/generations/{newest().pk}/run-again/"
    again = alices_program.post(link, {"seed": 5}, content_type="application/json")
    assert again.status_code == 202
    assert newest().paint_settings.regions == TWO
    assert pixels_of(diffusion_requests[-1]) == {"region_mask": 245, "region_mask_2": 255}
    changed = {"regions": [{"prompt": "a dog"}], "region_mask": text(png(np.full((64, 96), 99, np.uint8)))}
    assert alices_program.post(link, changed, content_type="application/json").status_code == 202
    assert newest().paint_settings.regions == (Region("a dog"),)
    assert pixels_of(diffusion_requests[-1]) == {"region_mask": 99}
    note = "region_mask_2 was not read: the request has 1 region, and it is that of number 2."
    assert note in newest().warnings
    assert alices_program.post(link, {"regions": None}, content_type="application/json").status_code == 202
    assert newest().paint_settings.regions == ()
    assert newest().parent == first


def test_the_owner_downloads_the_mask_of_a_region(
    post_inpaint: PostInpaint, alices_program: Client, bobs_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    assert post_inpaint(1, regions=LISTED[:1]).status_code == 200
    link = alices_program.get(f"/api/generations/{newest().pk}/").json()["region_mask"]
    stored = Image.open(BytesIO(alices_program.get(link).getvalue()))
    assert (stored.mode, stored.size, stored.getpixel((0, 0))) == ("L", (96, 64), 255)
    assert bobs_program.get(link).status_code == 404


def test_the_pages_name_the_regions(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], client: Client, alice: User
) -> None:
    assert post_inpaint(2, prompt="", regions=LISTED).status_code == 200
    client.force_login(alice)
    page = client.get(reverse("generation", args=[newest().pk])).content.decode()
    assert re.search(r'Regions</th>.*a cat <span class="quiet">0\.6</span><br>a boat', page)
    assert "Painted in" in page
    assert dict(recipe_rows(newest()))["Regions"] == "a cat 0.6, a boat 1"


@pytest.mark.parametrize(
    ("count", "fields", "warning"),
    [
        (1, {}, "region_mask was not read: the request has no regions."),
        (
            1,
            {"engine": "quick-fill", "regions": LISTED[:1]},
            "region_mask was not read: quick-fill paints without regions.",
        ),
        (1, {"regions": [{"prompt": "a cat", "weight": 0}]}, "region_mask was not read: the weight of region 1 is 0."),
        (
            2,
            {"regions": LISTED[:1]},
            "region_mask_2 was not read: the request has 1 region, and it is that of number 2.",
        ),
    ],
)
def test_a_mask_without_effect_gives_a_warning_in_the_answer_and_in_the_plan(
    post_inpaint: PostInpaint,
    diffusion_requests: list[InpaintRequest],
    count: int,
    fields: dict[str, Any],
    warning: str,
) -> None:
    answer, foreseen = (post_inpaint(count, path=path, **fields) for path in ("/api/img2img", "/api/plan/"))
    assert answer.status_code == 200, answer.json()
    assert warning in answer.json()["metadata"]["warnings"]
    assert warning in foreseen.json()["warnings"]
    is_ignored = "engine" in fields
    assert ("regions" in answer.json()["metadata"]["ignored"]) == is_ignored
    assert ("regions" in foreseen.json()["ignored"]) == is_ignored


def test_the_cache_is_ignored_beside_regions(alices_program: Client, diffusion_requests: list[InpaintRequest]) -> None:
    InferenceModel.objects.filter(slug="tiny").update(family="flux-fill", scheduler="FlowMatchEulerDiscreteScheduler")
    for regions, reason in (([], None), (LISTED, "The cache holds for one prompt, and the request has regions.")):
        body = {"prompt": "a garden", "regions": regions, "cache": "fast"}
        answer = alices_program.post("/api/plan/", body, content_type="application/json")
        assert answer.status_code == 200, answer.json()
        assert answer.json()["ignored"].get("cache") == reason


def test_a_region_outside_the_mask_gives_a_warning(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    fields = {"regions": json.dumps(LISTED[:1]), "region_mask": upload(png(np.zeros((64, 96), np.uint8)))}
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields))
    assert answer.status_code == 200, answer.json()
    assert "region_mask was not read: it marks nothing of what is repainted." in answer.json()["metadata"]["warnings"]
    assert diffusion_requests[0].conditioning_images == {}


@pytest.mark.parametrize(
    ("count", "regions", "code", "field"),
    [
        (1, LISTED, "region_mask_missing", "region_mask_2"),
        (0, LISTED[:1], "region_mask_missing", "region_mask"),
        (1, "a cat", "field_invalid", "regions"),
        (1, ["a cat"], "field_invalid", "regions"),
        (1, [{"weight": 1}], "field_invalid", "regions"),
        (1, [{"prompt": 3}], "field_invalid", "regions"),
        (1, [{"prompt": "a cat", "mask": "x"}], "field_invalid", "regions"),
        (1, [{"prompt": "a cat", "weight": 1.5}], "field_out_of_range", "regions"),
        (1, [{"prompt": "a cat", "weight": -0.1}], "field_out_of_range", "regions"),
        (1, [{"prompt": "a" * 10_001}], "field_out_of_range", "regions"),
        (8, [{"prompt": "a cat"}] * 9, "field_out_of_range", "regions"),
    ],
)
def test_a_malformed_or_maskless_region_is_refused(
    post_inpaint: PostInpaint,
    diffusion_requests: list[InpaintRequest],
    count: int,
    regions: Any,
    code: str,
    field: str,
) -> None:
    answer = post_inpaint(count, regions=regions)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert diffusion_requests == []
    assert not Generation.objects.exists()


def test_a_mask_of_another_size_is_scaled_with_a_warning(
    alices_program: Client, photo_png: bytes, mask_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    fields = {"regions": json.dumps(LISTED[:1]), "region_mask": upload(png(np.full((32, 48), 255, np.uint8)))}
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields))
    warning = "region_mask: The region mask is 48x32, the image 96x64: the region mask was scaled to the image."
    assert [one for one in answer.json()["metadata"]["warnings"] if "region" in one] == [
        warning.removeprefix("region_mask: ")
    ]
    assert diffusion_requests[0].conditioning_images["region_mask"].size == diffusion_requests[0].image.size


def test_the_loras_of_a_region_reach_the_engine_the_metadata_and_the_pages(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], loras: None, client: Client, alice: User
) -> None:
    listed = [{"prompt": "a cat", "loras": [lora(1, 0.8), {"slug": "lora-2"}]}, {"prompt": "a boat"}]
    answer = post_inpaint(2, regions=listed, loras=json.dumps([lora(0)]))
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert metadata["regions"] == [
        {"prompt": "a cat", "weight": 1.0, "loras": [lora(1, 0.8), lora(2)]},
        {"prompt": "a boat", "weight": 1.0},
    ]
    assert metadata["loras"] == [lora(0)]
    (request,) = diffusion_requests
    own = (LoraUse("lora-1", 0.8), LoraUse("lora-2"))
    assert request.settings.regions == (Region("a cat", loras=own), Region("a boat"))
    assert newest().paint_settings.regions == request.settings.regions
    assert {"lora-0", "lora-1", "lora-2"} <= needed_by(newest()), "of what a worker has to load"
    client.force_login(alice)
    page = client.get(reverse("generation", args=[newest().pk])).content.decode()
    assert re.search(r'Regions</th>.*a cat <code class="quiet">lora-1</code> 0\.8, <code class="quiet">lora-2', page)
    assert dict(recipe_rows(newest()))["Regions"] == "a cat 1 (lora-1 0.8, lora-2 1), a boat 1"


def test_a_plan_without_images_says_which_loras_of_regions_do_not_fit(alices_program: Client, loras: None) -> None:
    def problems(**fields: Any) -> Any:
        answer = alices_program.post("/api/plan/", fields, content_type="application/json")
        assert answer.status_code == 200, answer.json()
        return answer.json()["problems"]

    missing = [{"prompt": "a cat", "loras": [{"slug": "missing"}]}]
    assert problems(regions=[{"prompt": "a cat", "loras": [lora(0)]}]) == {}
    assert problems(regions=missing)["regions"].startswith("There is no LoRA of that name here")
    assert problems(engine="quick-fill", regions=missing) == {}, "it ignores them"


@pytest.mark.parametrize(
    ("of_request", "of_regions", "code", "message"),
    [
        ([], [[{"slug": "missing"}]], "lora_not_found", "There is no LoRA of that name here"),
        ([], [[{"slug": "other"}]], "lora_unfit", "is for models of the family sdxl"),
        ([], [[lora(0), lora(0, 0.5)]], "field_invalid", "regions lists a LoRA more than once in one region."),
        ([], [[lora(0, 2.1)]], "field_out_of_range", "weight is 2.1; it must be between -2.0 and 2.0."),
        ([], [[{"slug": "../ink"}]], "field_invalid", "A slug in"),
        ([], [["lora-0"]], "field_invalid", ""),
        ([], [{"slug": "lora-0"}], "field_invalid", ""),
        (
            [lora(0), lora(1)],
            [[lora(0), lora(2), lora(3)], [lora(number) for number in range(4, MAX_LORAS + 1)]],
            "field_out_of_range",
            "The request and its regions name 9 LoRAs; at most 8 are allowed.",
        ),
    ],
)
def test_loras_of_regions_that_cannot_be_used_are_refused(
    post_inpaint: PostInpaint,
    loras: None,
    of_request: list[Any],
    of_regions: list[Any],
    code: str,
    message: str,
) -> None:
    listed = [{"prompt": "a cat", "loras": entries} for entries in of_regions]
    answer = post_inpaint(len(listed), regions=listed, loras=json.dumps(of_request))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "regions")
    assert message in answer.json()["message"]
    assert not Generation.objects.exists()


def test_a_family_without_loras_says_so(
    post_inpaint: PostInpaint, loras: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families.registry, "sd", replace(families.get("sd"), lora=None))
    listed = [{"prompt": "a cat", "loras": [lora(0)]}]
    for field, fields in (("regions", {"regions": listed}), ("loras", {"loras": json.dumps([lora(0)])})):
        answer = post_inpaint(1, prompt="a cat", **fields)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "lora_unfit", field)
        assert re.fullmatch(r".+ takes no LoRA\.", answer.json()["message"])


def test_as_many_loras_as_a_request_may_name_are_accepted(post_inpaint: PostInpaint, loras: None) -> None:
    listed = [{"prompt": "a cat", "loras": [lora(number) for number in range(MAX_LORAS)]}]
    assert post_inpaint(1, regions=listed, loras=json.dumps([lora(0, 0.5)])).status_code == 200
