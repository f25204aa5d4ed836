"""`keep_metadata`: what result files keep of the source's metadata, and that they keep nothing without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from skimage import data as photos

from accounts.models import User
from inpainting.core.codecs.metadata.xmp import read_rights
from inpainting.models import GeneratedImage, Generation
from tests.api.bodies import shape_a
from tests.api.painting import answer_for, metadata_for
from tests.commands.running import inpaint
from tests.support.photo_metadata import SECRETS, exif_values, with_metadata, xmp_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

FORMATS = ("png", "jpeg", "webp")
PERSONAL = (b"Acme", b"Ada", b"All rights", *SECRETS)


@pytest.fixture
def photo_jpeg() -> bytes:
    return with_metadata(Image.fromarray(photos.astronaut()[:64, :96]), "JPEG", orientation=3)


def downloads(client: Client, answer: dict[str, Any]) -> list[bytes]:
    """The result in every way that it can be downloaded, and its source."""
    url = f"/api/generations/{answer['id']}/"
    queries = [f"?format={format}{more}" for format in FORMATS for more in ("", "&embed_settings=true")]
    paths = ["images/0/", *(f"images/0/{query}" for query in queries), "images/0/?embed_settings=false", "source/"]
    return [client.get(url + path).getvalue() for path in paths]


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_kept_without_the_setting(
    alices_program: Client, photo_jpeg: bytes, mask_png: bytes, format: str
) -> None:
    answer = answer_for(alices_program, photo_jpeg, mask_png, output_format=format)
    for data in downloads(alices_program, answer):
        assert exif_values(data).keys() <= {"UserComment", "ExifVersion"}
        assert xmp_of(data) == b""
        assert not [word for word in PERSONAL if word in data]
    image = GeneratedImage.objects.get()
    for file in (image.preview, image.thumbnail, image.generation.source.thumbnail, image.generation.mask.file):
        assert not file or not exif_values(Path(file.path).read_bytes())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("choice", ["copyright", "all", "all_with_gps"])
def test_every_download_has_what_was_asked_for(
    alices_program: Client, photo_jpeg: bytes, mask_png: bytes, choice: str, format: str
) -> None:
    answer = answer_for(alices_program, photo_jpeg, mask_png, output_format=format, keep_metadata=choice)
    assert (answer["metadata"]["keep_metadata"], answer["metadata"]["warnings"]) == (choice, [])
    for data in downloads(alices_program, answer):
        values = exif_values(data)
        assert values["Artist"] == "Ada"
        assert values.get("LensModel") == (None if choice == "copyright" else "Acme 50mm")
        assert values.get("DateTimeOriginal") == (None if choice == "copyright" else "2026:01:02 03:04:05")
        assert values.get("GPS.GPSLatitude") == ((52.0, 31.0, 12.0) if choice == "all_with_gps" else None)
        assert "Orientation" not in values
        assert read_rights(xmp_of(data)).creators == ("Ada", "Ben & Co")
        assert not [word for word in SECRETS if word in data]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_the_metadata_of_other_files_are_kept_too(alices_program: Client, mask_png: bytes, format: str) -> None:
    source = with_metadata(Image.fromarray(photos.astronaut()[:64, :96]), format)
    answer = answer_for(alices_program, source, mask_png, keep_metadata="all")
    for data in downloads(alices_program, answer):
        assert exif_values(data)["Model"] == "Acme One"
        assert read_rights(xmp_of(data)).usage_terms == "Ask <first>"


def test_an_image_without_metadata_is_warned_about(
    alices_program: Client, photo_png: bytes, photo_jpeg: bytes, mask_png: bytes
) -> None:
    metadata = metadata_for(alices_program, photo_png, mask_png, keep_metadata="all")
    assert metadata["warnings"] == ["The image has no metadata that keep_metadata=all would keep."]
    foreseen = alices_program.post("/api/plan/", shape_a(photo_png, mask_png, keep_metadata="copyright"))
    assert foreseen.json()["warnings"] == ["The image has no metadata that keep_metadata=copyright would keep."]


def test_running_again_keeps_no_more_than_was_stored(
    alices_program: Client, photo_jpeg: bytes, mask_png: bytes
) -> None:
    first = answer_for(alices_program, photo_jpeg, mask_png, keep_metadata="copyright", output_format="jpeg")
    found = []
    for changes in ({}, {"keep_metadata": "all_with_gps"}, {"keep_metadata": None}):
        url = f"/api/generations/{first['id']}/run-again/"
        assert alices_program.post(url, json.dumps(changes), content_type="application/json").status_code == 202
        image = GeneratedImage.objects.latest("created_at")
        values = exif_values(Path(image.copy_file.path).read_bytes())
        found.append(("Artist" in values, "Make" in values, "GPS.GPSLatitude" in values))
    assert found == [(True, False, False), (True, False, False), (False, False, False)]


def test_an_unknown_choice_is_refused(alices_program: Client, photo_jpeg: bytes, mask_png: bytes) -> None:
    answer = answer_for(alices_program, photo_jpeg, mask_png, keep_metadata="gps")
    assert (answer["code"], answer["field"]) == ("field_invalid", "keep_metadata")


def test_the_page_of_a_generation_shows_the_choice(
    alices_program: Client, alice: User, client: Client, photo_jpeg: bytes, mask_png: bytes
) -> None:
    answer = answer_for(alices_program, photo_jpeg, mask_png, keep_metadata="all_with_gps")
    client.force_login(alice)
    page = client.get(f"/generations/{answer['id']}/").content.decode()
    assert "Keep metadata" in page
    assert "all_with_gps" in page


def test_rows_of_earlier_releases_have_no_such_setting(
    alices_program: Client, photo_jpeg: bytes, mask_png: bytes
) -> None:
    answer = answer_for(alices_program, photo_jpeg, mask_png, output_format="jpeg")
    generation = Generation.objects.get()
    del generation.settings["keep_metadata"]
    generation.settings["quality"] = None
    generation.save()
    assert generation.paint_settings.keep_metadata is None
    assert alices_program.get(f"/api/generations/{answer['id']}/").status_code == 200


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp"])
def test_the_command_line_keeps_metadata_on_request(
    tmp_path: Path, photo_jpeg: bytes, mask_png: bytes, name: str
) -> None:
    (tmp_path / "in.jpg").write_bytes(photo_jpeg)
    (tmp_path / "mask.png").write_bytes(mask_png)
    found = []
    for options in ((), ("--keep-metadata", "all"), ("--keep-metadata", "all_with_gps")):
        (tmp_path / name).unlink(missing_ok=True)
        inpaint(tmp_path / "in.jpg", tmp_path / "mask.png", "-o", tmp_path / name, *options)
        data = (tmp_path / name).read_bytes()
        values = exif_values(data)
        found.append(("Make" in values, "GPS.GPSLatitude" in values, bool(xmp_of(data))))
    assert found == [(False, False, False), (True, False, True), (True, True, True)]
