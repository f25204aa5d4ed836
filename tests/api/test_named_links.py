"""Signed links that end in a file name, in every folder."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from PIL import Image

from accounts.models import ApiKey, Scope, User
from inpainting.api.media.links import image_link, result_link
from inpainting.media import conversions
from inpainting.models import Generation

pytestmark = pytest.mark.django_db

ORIGIN = "https://pictures.example:8443"
FOLDERS = ["generations", "images/2026-11-22", "outputs/2026-11-22"]
NAMES = {"0-9f.png": "PNG", "result.jpg": "JPEG", "result.jpeg": "JPEG", "größer 1.webp": "WEBP"}


def path_of(link: str) -> str:
    assert link.startswith(f"{ORIGIN}/")
    assert not urlsplit(link).query
    return urlsplit(link).path


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_link_ends_in_its_name_and_sends_that_format_to_every_origin(
    alice: User, generate: Callable[..., Generation], folder: str, name: str
) -> None:
    link = path_of(result_link(folder, name, generate(alice), origin=ORIGIN))
    assert link.startswith(f"/{folder}/")
    answer = Client().get(link)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Type"] == f"image/{NAMES[name].lower()}"
    data = answer.getvalue()
    assert Image.open(io.BytesIO(data)).format == NAMES[name]
    head = Client().head(link)
    assert (head.status_code, head.headers["Content-Length"], head.getvalue()) == (200, str(len(data)), b"")
    part = Client().get(link, headers={"Range": "bytes=2-9"})
    assert (part.status_code, part.getvalue()) == (206, data[2:10])
    assert Client().get(link, headers={"Range": "bytes=99999999-"}).status_code == 416
    assert Client().post(link).status_code == 405


def test_the_png_is_the_stored_one_and_the_copy_in_the_requested_format_too(
    alice: User, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, output_format="webp", quality=40)
    image = generation.images.get()
    for name, file in (("a.png", image.file), ("a.webp", image.copy_file)):
        link = path_of(result_link("generations", name, generation, origin=ORIGIN))
        assert Client().get(link).getvalue() == Path(file.path).read_bytes()


def test_a_link_may_be_made_before_its_result_exists(alice: User, generate: Callable[..., Generation]) -> None:
    waiting = generate(alice, run=False)
    link = path_of(result_link("generations", "0-9f.png", waiting, 0, origin=ORIGIN))
    answer = Client().get(link)
    assert (answer.status_code, answer.content) == (404, b"")
    assert "no-store" in answer.headers["Cache-Control"]  # Caches may keep a 404 otherwise (RFC 9110 section 15.5.5).
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    generate(alice)  # its worker paints the waiting one, too
    assert Client().get(link).status_code == 200
    assert Client().get(path_of(result_link("generations", "1.png", waiting, 1, origin=ORIGIN))).status_code == 404


def test_input_images_have_links_too(alice: User, generate: Callable[..., Generation]) -> None:
    generation = generate(alice)
    for image in (generation.source, generation.mask):
        link = path_of(image_link("inputs", f"{image.sha256}.png", image, origin=ORIGIN))
        assert Client().get(link).getvalue() == Path(image.file.path).read_bytes()


@pytest.mark.parametrize(("accept", "sent"), [("image/jpeg", "JPEG"), ("image/jpg", "JPEG"), ("image/webp", "WEBP")])
def test_an_accept_header_of_one_type_converts_outputs_and_inputs_only(
    alice: User, generate: Callable[..., Generation], accept: str, sent: str
) -> None:
    generation = generate(alice)
    outputs = path_of(result_link("outputs/2026-11-22", "a.png", generation, origin=ORIGIN))
    inputs = path_of(image_link("inputs", "a.png", generation.source, origin=ORIGIN))
    for link in (outputs, inputs):
        answer = Client().get(link, headers={"Accept": accept})
        assert Image.open(io.BytesIO(answer.getvalue())).format == sent
        assert (answer.headers["Content-Type"], answer.headers["Vary"]) == (f"image/{sent.lower()}", "Accept")
        for other in ("*/*", f"{accept}, */*", "text/html", "image/*", "image/tiff"):
            assert Client().get(link, headers={"Accept": other}).headers["Content-Type"] == "image/png"
    elsewhere = path_of(result_link("generations", "a.png", generation, origin=ORIGIN))
    assert Client().get(elsewhere, headers={"Accept": accept}).headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_altered_part_of_a_link_leads_to_nothing(
    alice: User, generate: Callable[..., Generation], folder: str
) -> None:
    link = path_of(result_link(folder, "a.png", generate(alice), origin=ORIGIN))
    token = link.split("/")[-2]
    index, expires = token.split("-")[2:4]
    altered = [
        link.replace("a.png", "b.png"),
        link.replace("a.png", "a.jpg"),
        link.replace(token, "made-up"),
        link.replace(token, token[:-1]),
        link.replace(f"-{expires}-", f"-{int(expires) + 1}-"),
        link.replace(f"-{index}-", "-1-"),
        link.replace("result-", "sourceimage-"),
        *(link.replace(folder, other) for other in {*FOLDERS, "inputs"} - {folder}),
    ]
    if "/" in folder:
        altered.append(link.replace("2026-11-22", "2026-11-23"))
    for other in altered:
        assert other != link
        answer = Client().get(other)
        assert (answer.status_code, answer.content) == (404, b""), other
    assert Client().get(link).status_code == 200


@pytest.mark.parametrize("path", ["/outputs/2024-07-26/2024-07-26_16-29-10_1354.png", "/inputs/0a.png", "/outputs/"])
def test_the_links_of_another_server_lead_to_an_empty_404(db: None, path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_links_expire(alice: User, generate: Callable[..., Generation], monkeypatch: pytest.MonkeyPatch) -> None:
    generation = generate(alice)
    short = path_of(result_link("generations", "a.png", generation, origin=ORIGIN, hours=1))
    default = path_of(result_link("generations", "a.png", generation, origin=ORIGIN))
    statuses = []
    for hours in (0.9, 1.1, 23.9, 24.1):
        with monkeypatch.context() as later:
            now = timezone.now().timestamp() + hours * 3600
            later.setattr("inpainting.api.media.links.time.time", lambda now=now: now)
            statuses.append((Client().get(short).status_code, Client().get(default).status_code))
    assert statuses == [(200, 200), (404, 200), (404, 200), (404, 404)]


def test_links_end_with_their_generation(alice: User, generate: Callable[..., Generation]) -> None:
    generation = generate(alice)
    link = path_of(result_link("generations", "a.png", generation, origin=ORIGIN))
    Generation.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert Client().get(link).status_code == 200
    Generation.objects.update(expires_at=timezone.now())
    assert Client().get(link).status_code == 404
    Generation.objects.update(expires_at=None)
    Path(generation.images.get().file.path).unlink()
    answer = Client().get(link)
    assert (answer.status_code, answer.content) == (410, b"")
    generation.delete()
    assert Client().get(link).status_code == 404


@pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
def test_own_links_are_read_from_storage_as_pngs(
    alice: User, alices_program: Client, bobs_program: Client, generate: Callable[..., Generation], mask_png: bytes
) -> None:
    generation = generate(alice, output_format="jpeg")
    upload = SimpleUploadedFile("mask.png", mask_png, "image/png")
    links = [result_link(folder, "a.jpg", generation, origin="http://testserver") for folder in FOLDERS]
    links.append(image_link("inputs", "a.png", generation.source, origin="http://testserver"))
    for link in (*links, *(urlsplit(link).path for link in links)):
        upload.seek(0)
        body = {"image": link, "mask": upload, "prompt": ""}
        answer = alices_program.post("/api/img2img", body)
        assert answer.status_code == 200, link
        source = Generation.objects.latest("created_at").source.read()
        read = generation.source if "/inputs/" in link else generation.images.get()
        assert source.equals(read.read())
        upload.seek(0)
        refused = bobs_program.post("/api/img2img", body)
        assert (refused.status_code, refused.json()["code"]) == (400, "url_not_allowed")


@pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
def test_a_key_that_may_not_read_the_history_cannot_send_its_links(
    alice: User, generate: Callable[..., Generation], mask_png: bytes
) -> None:
    generation = generate(alice)
    _, key = ApiKey.issue(alice, scopes=[Scope.GENERATE])
    signed = result_link(FOLDERS[0], "a.png", generation, origin="http://testserver")
    paths = [f"/api/generations/{generation.pk}/{name}/" for name in ("images/0", "source", "mask")]
    for link in (signed, *paths):
        body = {"image": link, "mask": SimpleUploadedFile("mask.png", mask_png, "image/png"), "prompt": ""}
        answer = Client(headers={"X-API-Key": key}).post("/api/img2img", body)
        assert (answer.status_code, answer.json().get("code")) == (
            (200, None) if link == signed else (403, "scope_missing")
        )
    body = {"model_id": "sdxl", "prompt": "", "init_image": paths[0], "mask_image": paths[2], "key": key}
    assert Client().post("/api/v6/images/inpaint", body, content_type="application/json").status_code == 403


def test_a_conversion_that_does_not_get_its_turn_is_refused(
    alice: User, generate: Callable[..., Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversions, "WAIT_SECONDS", 0)
    link = path_of(result_link("outputs/2026-11-22", "a.png", generate(alice), origin=ORIGIN))
    with conversions.converting():
        busy = Client().get(link, headers={"Accept": "image/webp"})
        assert (busy.status_code, busy.content, busy.headers["Retry-After"]) == (503, b"", "5")
        assert Client().get(link).status_code == 200
    assert Client().get(link, headers={"Accept": "image/webp"}).status_code == 200
