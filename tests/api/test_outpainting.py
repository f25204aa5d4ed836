"""Outpainting by the native API: sizes, metadata, errors, and what keeps working with such a generation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray

from accounts.models import User
from inpainting.models import Generation
from tests.api.bodies import shape_c, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

URL = "/api/img2img"


def outpaint(program: Client, image: bytes, *, url: str = URL, **fields: Any) -> Any:
    """The answer to a form without a mask."""
    return program.post(url, {"image": upload(image), "prompt": "", "seed": "5", **fields}).json()


def result() -> NDArray[Any]:
    return Generation.objects.latest("created_at").images.get().read().pixels


def test_it_paints_a_border_around_the_image_and_reports_where_the_image_lies(
    alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes
) -> None:
    answer = outpaint(alices_program, photo_png, outpaint_left="10", outpaint_bottom="6")

    metadata = answer["metadata"]
    assert (metadata["width"], metadata["height"]) == (106, 70)
    assert (metadata["source_width"], metadata["source_height"]) == (96, 64)
    assert metadata["source_box"] == [10, 0, 106, 64]
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    assert np.array_equal(result()[:64, 10:], photo)


def test_json_may_ask_for_a_size_and_the_image_is_scaled_down_to_it(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    body = {**shape_c(photo_png, mask_png, outpaint_size="48x48", outpaint_anchor="bottom"), "mask": None}
    answer = alices_program.post(URL, body, content_type="application/json").json()

    metadata = answer["metadata"]
    assert (metadata["width"], metadata["height"]) == (48, 48)
    assert (metadata["source_width"], metadata["source_height"]) == (96, 64)
    assert metadata["source_box"] == [0, 16, 48, 48]


def test_an_image_that_covers_the_size_is_scaled_and_nothing_is_painted(
    alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.engines.quick_fill.engine.QuickFill.inpaint", None)
    fields = {"outpaint_size": "48x32", "output_format": "jpeg", "num_images": "2"}
    plan = outpaint(alices_program, photo_png, url="/api/plan/", **fields)
    metadata = outpaint(alices_program, photo_png, **fields)["metadata"]
    again = alices_program.post(f"/api/generations/{Generation.objects.get().pk}/run-again/")
    assert again.status_code == 202

    reason = "Nothing is painted: the image, scaled from 96x64 to 48x32, covers the whole result."
    assert (plan["engine_reason"], plan["coverage"], plan["window"]) == (reason, 0, [0, 0, 48, 32])
    assert (metadata["engine_reason"], metadata["warnings"]) == (reason, [reason])
    assert (metadata["source_width"], metadata["source_height"]) == (96, 64)
    assert metadata["source_box"] == [0, 0, 48, 32]
    for generation in Generation.objects.all():
        for image in generation.images.all():
            expected = cv2.resize(photo, (48, 32), interpolation=cv2.INTER_AREA)
            assert np.array_equal(image.read().pixels, expected)
            assert (image.outside_mask_changed_pixels, image.report["coverage"]) == (0, 0)
    assert {generation.status for generation in Generation.objects.all()} == {"succeeded"}


def test_16_bits_and_alpha_are_kept(alices_program: Client) -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (40, 50, 4)).astype(np.uint16)
    encoded, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))
    assert encoded

    outpaint(alices_program, data.tobytes(), outpaint_ratio="2:1")

    assert result().shape == (40, 80, 4)
    assert np.array_equal(result()[:, 15:65], pixels)


def test_a_mask_is_repainted_together_with_the_border(
    alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes, mask_png: bytes, hole: NDArray[np.uint8]
) -> None:
    outpaint(alices_program, photo_png, mask=upload(mask_png), outpaint_top="8")

    inside = result()[8:]
    assert np.array_equal(inside[hole == 0], photo[hole == 0])
    assert not np.array_equal(inside, photo)


def test_without_outpainting_the_metadata_do_not_mention_it(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer = outpaint(alices_program, photo_png, mask=upload(mask_png), outpaint_left="0")
    assert not {"source_width", "source_height", "source_box"} & answer["metadata"].keys()


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"outpaint_left": "5", "outpaint_size": "200x200"}, "field_invalid", "outpaint_size"),
        ({"outpaint_size": "200x200", "outpaint_ratio": "1:1"}, "field_invalid", "outpaint_ratio"),
        ({"outpaint_left": "5", "outpaint_anchor": "top"}, "field_invalid", "outpaint_anchor"),
        ({"outpaint_ratio": "1:1", "outpaint_fit": "contain"}, "field_invalid", "outpaint_fit"),
        ({"outpaint_size": "big"}, "field_invalid", "outpaint_size"),
        ({"outpaint_ratio": "1:1", "outpaint_anchor": "middle"}, "field_invalid", "outpaint_anchor"),
        ({"outpaint_left": "-1"}, "field_out_of_range", "outpaint_left"),
        ({"outpaint_left": "16385"}, "field_out_of_range", "outpaint_left"),
        ({"outpaint_left": "8190"}, "image_dimensions", "outpaint_left"),
        ({"outpaint_size": "8192x8192"}, "image_dimensions", "outpaint_size"),
        ({"outpaint_size": "96x64"}, "mask_empty", "outpaint_size"),
        ({"outpaint_left": "0"}, "mask_required", "mask"),
    ],
)
@pytest.mark.parametrize("path", [URL, "/api/plan/"])
def test_a_canvas_that_cannot_be_made_is_refused(
    alices_program: Client, photo_png: bytes, path: str, fields: dict[str, str], code: str, field: str
) -> None:
    answer = outpaint(alices_program, photo_png, url=path, **fields)
    assert (answer["status"], answer["code"], answer["field"]) == ("error", code, field)
    assert not Generation.objects.exists()


def test_a_plan_shows_the_canvas_and_its_mask(alices_program: Client, photo_png: bytes) -> None:
    found = outpaint(alices_program, photo_png, url="/api/plan/", outpaint_right="32")
    assert (found["width"], found["height"], found["coverage"]) == (128, 64, 0.25)
    assert found["source_box"] == [0, 0, 96, 64]


def test_running_again_keeps_the_canvas(alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes) -> None:
    first = outpaint(alices_program, photo_png, outpaint_left="10")
    again = f"/api/generations/{first['id']}/run-again/"

    assert alices_program.post(again, {"seed": 9}, content_type="application/json").status_code == 202

    second = Generation.objects.latest("created_at")
    assert str(second.parent_id) == first["id"]
    detail = alices_program.get(f"/api/generations/{second.pk}/").json()
    assert detail["metadata"]["source_box"] == [10, 0, 106, 64]
    assert np.array_equal(result()[:, 10:], photo)
    refused = alices_program.post(again, {"outpaint_left": 5}, content_type="application/json")
    assert (refused.status_code, refused.json()["field"]) == (400, "outpaint_left")


def test_a_batch_outpaints_each_image_to_its_own_canvas(alices_program: Client, photo: NDArray[np.uint8]) -> None:
    images = [upload(png(photo)), upload(png(photo[:, :32])), upload(png(photo[:, :64]))]
    body = {"images": images, "prompt": "", "outpaint_ratio": "1:1"}

    batch = alices_program.post("/api/batches/", body).json()

    found = alices_program.get(f"/api/batches/{batch['id']}/").json()
    assert [item["status"] for item in found["items"]] == ["succeeded", "succeeded", "refused"]
    sources = [generation.source for generation in Generation.objects.all()]
    assert {(source.width, source.height) for source in sources} == {(96, 96), (64, 64)}
    assert alices_program.post("/api/batches/", {"images": [upload(png(photo))], "prompt": ""}).status_code == 400


def test_the_page_of_a_generation_shows_where_it_was_outpainted(
    alices_program: Client, alice: User, photo_png: bytes
) -> None:
    answer = outpaint(alices_program, photo_png, outpaint_left="10")
    browser = Client()
    browser.force_login(alice)
    page = browser.get(f"/generations/{answer['id']}/").content.decode()
    assert "96 × 64" in page
    assert "at 10, 0" in page
