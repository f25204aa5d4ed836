"""Lossy results of a JPEG have the quality that it was saved with, unless a request names another one."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from skimage import data as photos

from inpainting.models import GeneratedImage
from tests.api.bodies import shape_a, shape_c, upload
from tests.api.painting import answer_for, metadata_for
from tests.commands.running import inpaint

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

QUALITIES = {30: 75, 75: 75, 92: 92, 98: 98, 100: 98}
"""Of a source, and of a result without a quality of its own."""


def photo(format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photos.astronaut()[:64, :96]).save(file, format, **options)
    return file.getvalue()


def tables(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return image.quantization  # type: ignore[attr-defined]  # of JPEG files


def delivered(client: Client, answer: dict[str, Any], query: str = "") -> bytes:
    data: bytes = client.get(f"/api/generations/{answer['id']}/images/0/{query}").getvalue()
    return data


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_jpeg_of_a_jpeg_has_its_quality(alices_program: Client, mask_png: bytes, quality: int) -> None:
    source = photo(quality=quality)
    answer = answer_for(alices_program, source, mask_png, output_format="jpeg")
    assert answer["metadata"]["quality"] == QUALITIES[quality]
    assert "quality" not in answer["metadata"]["requested"]
    assert answer["metadata"]["results"][0]["copy"]["quality"] == QUALITIES[quality]
    result = delivered(alices_program, answer)
    assert tables(result) == tables(photo(quality=QUALITIES[quality]))


def test_a_number_that_was_sent_is_used_as_it_is(alices_program: Client, mask_png: bytes) -> None:
    for quality in (20, 100):
        fields = {"output_format": "jpeg", "quality": str(quality)}
        assert metadata_for(alices_program, photo(quality=92), mask_png, **fields)["quality"] == quality


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_another_source_leads_to_85(alices_program: Client, mask_png: bytes, format: str) -> None:
    for name in ("jpeg", "webp"):
        assert metadata_for(alices_program, photo(format), mask_png, output_format=name)["quality"] == 85


def test_a_png_has_no_quality_until_it_is_downloaded_as_jpeg(alices_program: Client, mask_png: bytes) -> None:
    answer = answer_for(alices_program, photo(quality=92), mask_png)
    assert "quality" not in answer["metadata"]
    assert "quality" not in answer["metadata"]["ignored"]
    expected = tables(photo(quality=92))
    for query in ("?format=jpeg", "?format=jpeg&embed_settings=true", "?format=jpeg&embed_settings=false"):
        assert tables(delivered(alices_program, answer, query)) == expected
    plain = answer_for(alices_program, photo("PNG"), mask_png)
    assert tables(delivered(alices_program, plain, "?format=jpeg")) == tables(photo(quality=85))


def test_the_plan_shows_the_quality(alices_program: Client, mask_png: bytes) -> None:
    shown = [
        alices_program.post("/api/plan/", shape_a(source, mask_png, **fields)).json()["quality"]
        for source, fields in (
            (photo(quality=92), {"output_format": "webp"}),
            (photo("PNG"), {"output_format": "webp"}),
            (photo(quality=92), {"output_format": "webp", "quality": "40"}),
            (photo(quality=92), {}),
        )
    ]
    assert shown == [92, 85, 40, None]


def test_the_quality_survives_outpainting(alices_program: Client, mask_png: bytes) -> None:
    fields = {"output_format": "jpeg", "outpaint_size": "160x128", "outpaint_fit": "contain"}
    answer = alices_program.post("/api/plan/", shape_a(photo(quality=92), mask_png, **fields)).json()
    assert (answer["width"], answer["quality"]) == (160, 92)


def test_the_quality_survives_running_again_and_editing_further(alices_program: Client, mask_png: bytes) -> None:
    first = answer_for(alices_program, photo(quality=92), mask_png, output_format="jpeg")
    url = f"/api/generations/{first['id']}/"
    for changes in ({}, {"output_format": "webp"}, {"quality": 50}, {"quality": None}):
        alices_program.post(f"{url}run-again/", json.dumps(changes), content_type="application/json")
    copies = [image.report["copy"]["quality"] for image in GeneratedImage.objects.order_by("created_at")]
    assert copies == [92, 92, 92, 50, 92]
    link = f"{url}images/0/"
    further = alices_program.post(
        "/api/img2img",
        {**shape_c(b"", mask_png, output_format="jpeg"), "input_image": link, "parent": first["id"]},
        content_type="application/json",
    ).json()
    assert further["metadata"]["quality"] == 92


def test_each_image_of_a_batch_has_its_own(alices_program: Client, mask_png: bytes) -> None:
    sources = {"a.jpg": photo(quality=91), "b.jpg": photo(quality=77), "c.png": photo("PNG")}
    images = [upload(data, name=name) for name, data in sources.items()]
    body = {"images": images, "masks": [upload(mask_png, name="mask.png")], "prompt": "", "output_format": "jpeg"}
    assert alices_program.post("/api/batches/", body).status_code == 202
    rows = GeneratedImage.objects.order_by("generation__source__name")
    assert [image.report["copy"]["quality"] for image in rows] == [91, 77, 85]


def test_the_command_line_writes_the_quality_of_the_source(tmp_path: Path, mask_png: bytes) -> None:
    (tmp_path / "in.jpg").write_bytes(photo(quality=94))
    (tmp_path / "mask.png").write_bytes(mask_png)
    out = tmp_path / "out.jpg"
    _, notes = inpaint(tmp_path / "in.jpg", tmp_path / "mask.png", "-o", out)
    assert "JPEG of quality 94; before it was compressed" in notes
    assert tables(out.read_bytes()) == tables(photo(quality=94))
