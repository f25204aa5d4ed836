"""Results in JPEG and WebP: the stored PNG holds the promise, its lossy copy is what is delivered."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from numpy.typing import NDArray
from PIL import ExifTags, Image

from accounts.models import User
from inpainting.accounting.limits import stored_bytes
from inpainting.core.codecs import decode_image
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.generations.delete import delete
from inpainting.models import GeneratedImage, Generation
from tests.api.bodies import shape_a, shape_b, upload
from tests.api.painting import answer_for, metadata_for
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

SENT = {"jpeg": ("jpeg", "jpg"), "jpg": ("jpeg", "jpg"), "webp": ("webp", "webp")}


def opened(answer: Any) -> Image.Image:
    image = Image.open(io.BytesIO(answer.getvalue()))
    assert answer.headers["Content-Type"] == f"image/{str(image.format).lower()}"
    return image


@pytest.mark.parametrize("name", SENT)
def test_the_requested_format_is_delivered_and_the_png_holds_the_promise(
    alices_program: Client, photo_png: bytes, mask_png: bytes, name: str
) -> None:
    format, extension = SENT[name]
    answer = answer_for(alices_program, photo_png, mask_png, output_format=name, quality="60")
    image = GeneratedImage.objects.get()
    (link,) = answer["images"]
    assert link.endswith(f".{extension}")
    assert answer["comfy_response"]["generated_images"][0]["filename"].endswith(f".{extension}")
    copy = Client().get(urlsplit(link).path).getvalue()
    about = {"format": format, "quality": 60, "lossy": True, "byte_count": len(copy)}
    about["sha256"] = hashlib.sha256(copy).hexdigest()
    assert answer["metadata"]["results"][0]["copy"] == about
    assert (answer["metadata"]["output_format"], answer["metadata"]["quality"]) == (format, 60)
    detail = alices_program.get(f"/api/generations/{answer['id']}/").json()["images"][0]
    assert (detail["copy"], detail["sha256"], detail["outside_mask_changed_pixels"]) == (about, image.sha256, 0)
    assert opened(alices_program.get(detail["url"])).format == format.upper()
    assert alices_program.get(detail["url"]).getvalue() == copy

    master = alices_program.get(detail["url"], {"format": "png"})
    assert hashlib.sha256(master.getvalue()).hexdigest() == image.sha256
    generation = image.generation
    lossless, lossy, source = image.read(), decode_image(copy).image, generation.source.read()
    assert outside_mask_changed_pixels(source, lossless, generation.mask.read_pixels()) == 0
    assert not np.array_equal(lossy.pixels, lossless.pixels)


def test_downloads_have_names_of_their_format(alice: User, client: Client, generate: Callable[..., Generation]) -> None:
    client.force_login(alice)
    url = f"/api/generations/{generate(alice, output_format='jpeg').pk}/images/0/"
    for query, extension in (("?download", "jpg"), ("?download&format=png", "png"), ("?download&format=webp", "webp")):
        answer = client.get(url + query)
        assert answer.headers["Content-Disposition"].endswith(f'-0.{extension}"')
        assert opened(answer).format == {"jpg": "JPEG"}.get(extension, extension.upper())
    refused = client.get(f"{url}?format=gif")
    assert (refused.status_code, refused.json()["field"]) == (400, "format")


def test_a_public_link_sends_the_png_and_the_requested_format_only(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    link = urlsplit(answer_for(alices_program, photo_png, mask_png, output_format="jpeg")["images"][0]).path
    statuses = {name: Client().get(link.replace(".jpg", name)).status_code for name in (".png", ".webp", ".jpeg", "")}
    assert statuses == {".png": 200, ".webp": 404, ".jpeg": 404, "": 404}


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"output_format": "gif"}, "field_invalid", "output_format"),
        ({"output_format": "JPEG "}, "field_invalid", "output_format"),
        ({"quality": "0"}, "field_out_of_range", "quality"),
        ({"quality": "101"}, "field_out_of_range", "quality"),
        ({"quality": "high"}, "field_invalid", "quality"),
        ({"max_file_kilobytes": "0"}, "field_out_of_range", "max_file_kilobytes"),
    ],
)
def test_an_unknown_format_or_quality_is_refused(
    alices_program: Client, photo_png: bytes, mask_png: bytes, fields: dict[str, str], code: str, field: str
) -> None:
    answer = answer_for(alices_program, photo_png, mask_png, **fields)
    assert (answer["status"], answer["code"], answer["field"]) == ("error", code, field)
    lenient = alices_program.post("/api/img2img", shape_b(photo_png, mask_png, output_format="gif")).json()
    assert (lenient["code"], lenient["field"]) == ("field_invalid", "output_format")


def test_quality_of_a_png_is_listed_as_ignored(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    assert "quality" in metadata_for(alices_program, photo_png, mask_png, quality="60")["ignored"]
    metadata = metadata_for(alices_program, photo_png, mask_png, quality="60", output_format="webp")
    assert "quality" not in metadata["ignored"]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_warnings_name_the_depth_and_transparency_that_are_lost(
    alices_program: Client, photo: NDArray[np.uint8], mask_png: bytes, format: str
) -> None:
    bgra = cv2.cvtColor(photo, cv2.COLOR_RGB2BGRA).astype(np.uint16) * 257
    bgra[:, :40, 3] = 0
    source = cv2.imencode(".png", bgra)[1].tobytes()
    warnings = " ".join(metadata_for(alices_program, source, mask_png, output_format=format)["warnings"])
    assert ("16 bits" in warnings) == (format != "png")
    assert ("transparent" in warnings) == (format == "jpeg")
    image = GeneratedImage.objects.get()
    assert (image.read().bits, image.read().has_alpha) == (16, True)
    if format == "jpeg":
        assert decode_image(Path(image.copy_file.path).read_bytes()).image.pixels[:, :32].min() > 250


def test_a_file_that_cannot_be_small_enough_is_sent_with_a_warning(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    large = png(np.tile(photo, (8, 8, 1))), png(255 - np.tile(hole, (8, 8)))
    metadata = metadata_for(alices_program, *large, output_format="jpeg", max_file_kilobytes="40")
    assert metadata["results"][0]["copy"]["byte_count"] <= 40_000
    assert metadata["warnings"] == []
    metadata = metadata_for(alices_program, *large, output_format="jpeg", max_file_kilobytes="1")
    assert metadata["results"][0]["copy"]["quality"] == 1
    assert any("larger than requested" in warning for warning in metadata["warnings"])


def test_a_batch_delivers_the_format_in_its_archive(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    images = [upload(photo_png, name="lawn.png"), upload(photo_png, name="lawn.jpg")]
    body = {"images": images, "masks": [upload(mask_png, name="mask.png")], "prompt": "", "output_format": "jpeg"}
    batch = alices_program.post("/api/batches/", body).json()
    answer = cast("Any", alices_program.get(f"/api/batches/{batch['id']}/results.zip"))
    archive = zipfile.ZipFile(io.BytesIO(answer.getvalue()))
    assert archive.namelist() == ["lawn.jpg", "lawn-2.jpg", "manifest.json"]
    for entry in json.loads(archive.read("manifest.json"))["files"]:
        data = archive.read(entry["file"])
        assert Image.open(io.BytesIO(data)).format == "JPEG"
        assert (entry["sha256"], entry["lossy"]) == (hashlib.sha256(data).hexdigest(), True)
        assert entry["outside_mask_changed_pixels"] == 0


def test_running_again_keeps_the_format_unless_another_is_sent(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    former = answer_for(alices_program, photo_png, mask_png, output_format="webp", quality="20")["id"]
    formats = []
    for changes in ({}, {"output_format": "jpg"}, {"output_format": "png"}):
        alices_program.post(f"/api/generations/{former}/run-again/", changes, content_type="application/json")
        image = GeneratedImage.objects.latest("created_at")
        formats.append((image.format, (image.report.get("copy") or {}).get("quality")))
    assert formats == [("webp", 20), ("jpeg", 20), ("png", None)]


def test_a_copy_is_counted_checked_and_deleted_with_its_generation(
    alice: User, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, output_format="jpeg")
    image = generation.images.get()
    path = Path(image.copy_file.path)
    assert path.stat().st_mode & 0o077 == 0
    assert image.copy_byte_count == path.stat().st_size
    inputs = generation.source.byte_count + generation.mask.byte_count
    assert stored_bytes(alice) == inputs + image.byte_count + image.copy_byte_count
    whole = path.read_bytes()
    for damaged, options, word in ((whole[:-1] + b"x", ("--hashes",), "altered"), (None, (), "missing")):
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        content = StringIO()
        with pytest.raises(CommandError):
            call_command("check_files", *options, stdout=content)
        assert f"{word}  {image.copy_file.name}" in content.getvalue()
    path.write_bytes(whole)
    assert delete(generation)
    assert not path.exists()


def test_a_copy_that_is_gone_is_a_410_while_the_png_is_there(
    alice: User, alices_program: Client, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, output_format="jpeg")
    Path(generation.images.get().copy_file.path).unlink()
    url = f"/api/generations/{generation.pk}/images/0/"
    assert [alices_program.get(url + query).status_code for query in ("", "?format=png")] == [410, 200]


def test_a_result_that_is_not_kept_leaves_no_copy(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[Path] = []

    def cancelled_meanwhile(self: Generation, images: Any) -> bool:
        paths.extend(Path(image.copy_file.path) for image in images)
        assert all(path.exists() for path in paths)
        Generation.objects.filter(pk=self.pk).update(cancel_requested=True)
        return False

    monkeypatch.setattr(Generation, "succeed", cancelled_meanwhile)
    body = shape_a(photo_png, mask_png, output_format="webp", num_images="2")
    assert alices_program.post("/api/img2img", body).status_code == 409
    assert len(paths) == 2
    assert not any(path.exists() for path in paths)


def test_the_page_of_a_generation_offers_both_files(
    alice: User, client: Client, generate: Callable[..., Generation]
) -> None:
    client.force_login(alice)
    pages = [
        client.get(f"/generations/{generate(alice, output_format=name).pk}/").content.decode()
        for name in ("webp", "png")
    ]
    assert ["WEBP of quality 85" in page for page in pages] == [True, False]
    assert ["?download&amp;format=png" in page for page in pages] == [True, False]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_result_is_downloaded_with_or_without_its_settings(
    alices_program: Client, photo_png: bytes, mask_png: bytes, format: str
) -> None:
    answer = answer_for(alices_program, photo_png, mask_png, prompt="a bus")
    url = f"/api/generations/{answer['id']}/images/0/?format={format}"
    answers = [alices_program.get(url + query) for query in ("", "&embed_settings=false", "&embed_settings=true")]
    stored, bare, full = images = [opened(each) for each in answers]
    assert all(np.array_equal(np.asarray(stored), np.asarray(each)) for each in images)
    settings = settings_in(full)
    assert settings is not None
    assert (settings["prompt"], settings["index"]) == ("a bus", 0)
    assert settings_in(stored) == (settings if format == "png" else None)
    assert settings_in(bare) is None
    assert answers[0].headers["ETag"] != answers[2].headers["ETag"]


def settings_in(image: Image.Image) -> dict[str, Any] | None:
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    text = image.info.get("dreamlayer") or comment.removeprefix(b"ASCII\0\0\0").decode()
    settings: dict[str, Any] | None = json.loads(text) if text else None
    return settings
