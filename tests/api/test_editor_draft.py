"""`/api/draft/`: the draft of the editor and its images over HTTP, for its owner."""

from __future__ import annotations

import io
import json
from typing import Any, cast

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

from accounts.models import ApiKey, Scope, User
from inpainting.api.native.drafts import DraftParser
from inpainting.core.codecs import decode_image
from inpainting.media import conversions
from inpainting.models import DraftImage
from tests.core import heifs, hostile, tiffs
from tests.support.drafts import document, sha256, with_photo

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/draft/"


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    return client


def put(client: Client, sent: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = cast("HttpResponse", client.put(URL, sent, content_type="application/json", headers=headers))
    return answer.status_code, json.loads(answer.content)


def upload(client: Client, data: bytes, name: str = "", **headers: str) -> tuple[int, str]:
    url = f"{URL}pictures/{name or sha256(data)}/"
    answer = cast("HttpResponse", client.put(url, data, content_type="image/jpeg", headers=headers))
    return answer.status_code, json.loads(answer.content or b"{}").get("code", "")


def test_a_draft_comes_back_on_another_device(
    alices_program: Client, alice: User, bobs_program: Client, photo_png: bytes
) -> None:
    empty: dict[str, Any] = {"revision": 0, "saved_at": None, "document": None, "pictures": []}
    assert alices_program.get(URL).json() == empty
    assert upload(alices_program, photo_png) == (204, "")
    sent = {"revision": 0, "document": with_photo(photo_png), "pictures": [sha256(photo_png)]}
    assert put(alices_program, sent)[0] == 200
    other = Client()
    other.force_login(alice)
    read = other.get(URL)
    assert {**read.json(), "saved_at": ""} == {**sent, "saved_at": "", "revision": 1}
    image = other.get(f"{URL}pictures/{sha256(photo_png)}/")
    assert image.getvalue() == photo_png
    assert "no-store" in read["Cache-Control"]
    assert "no-store" in image["Cache-Control"], "another account may sign in to the same browser"
    assert (image["Content-Type"], image["X-Content-Type-Options"]) == ("image/png", "nosniff")
    assert other.head(f"{URL}pictures/{sha256(photo_png)}/").status_code == 200
    assert bobs_program.get(URL).json() == empty
    assert bobs_program.head(f"{URL}pictures/{sha256(photo_png)}/").status_code == 404


def test_a_change_of_an_older_revision_is_a_conflict(alices_program: Client) -> None:
    sent = {"revision": 0, "document": document(), "pictures": []}
    assert put(alices_program, sent)[0] == 200
    status, problem = put(alices_program, {**sent, "document": document(step="result")})
    assert (status, problem["code"], problem["limit"], problem["actual"]) == (409, "draft_changed", 1, 0)


@pytest.mark.parametrize("scopes", [[Scope.READ], [Scope.GENERATE]])
def test_a_key_needs_the_scope_manage_to_change_it(alice: User, scopes: list[Scope], photo_png: bytes) -> None:
    program = Client(headers={"X-API-Key": ApiKey.issue(alice, scopes=scopes)[1]})
    assert put(program, {})[0] == 403
    assert upload(program, photo_png) == (403, "scope_missing")


def test_a_page_needs_its_csrf_token(browser: Client, photo_png: bytes) -> None:
    assert upload(browser, photo_png) == (403, "csrf")
    assert put(browser, {})[1]["code"] == "csrf"
    browser.get("/")
    token = {"X-CSRFToken": browser.cookies["csrftoken"].value}
    assert upload(browser, photo_png, **token) == (204, "")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image_type_unsupported"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "image_damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(32 * 2**20), "image_too_large"),
    ],
    ids=["empty", "svg", "damaged", "large"],
)
def test_only_images_that_can_be_painted_are_stored(alices_program: Client, data: bytes, code: str) -> None:
    status = 413 if code == "image_too_large" else 400
    assert upload(alices_program, data) == (status, code)
    assert not DraftImage.objects.exists()


def test_bytes_of_another_hash_are_refused(alices_program: Client, photo_png: bytes) -> None:
    assert upload(alices_program, photo_png, "0" * 64) == (400, "picture_hash_mismatch")
    for name in ("0" * 63, "g" * 64, "A" * 64, f"{'0' * 64}.png"):
        assert upload(alices_program, photo_png, name)[0] == 404
    assert not DraftImage.objects.exists()


def test_a_request_may_name_it_instead_of_sending_it_again(
    alices_program: Client, bobs_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    for canonical in (photo_png, mask_png):
        upload(alices_program, canonical)
    image, mask = (f"{URL}pictures/{sha256(canonical)}/" for canonical in (photo_png, mask_png))
    sent = {"images": [f"{image}?name=b%C3%A4nch.png", image], "masks": [mask], "prompt": "", "engine": "quick-fill"}
    answer = alices_program.post("/api/batches/", sent, content_type="application/json")
    assert answer.status_code == 202, answer.content
    assert [item["name"] for item in answer.json()["items"]] == ["b\u00e4nch.png", ""]
    refused = bobs_program.post("/api/batches/", sent, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (400, "url_not_allowed")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_file_is_kept_as_it_is_and_sent_as_what_it_is(alices_program: Client, format: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 200), "teal").save(buffer, format)
    assert upload(alices_program, buffer.getvalue()) == (204, "")
    answer = alices_program.get(f"{URL}pictures/{sha256(buffer.getvalue())}/")
    assert (answer.getvalue(), answer["Content-Type"]) == (buffer.getvalue(), f"image/{format.lower()}")


def test_a_file_that_browsers_cannot_show_is_sent_as_png(
    alices_program: Client, bobs_program: Client, photo: NDArray[np.uint8]
) -> None:
    """Upright, with 8 bits and the profile; the file itself stays as it is."""
    turned = {**tiffs.image_tags(40, 30, bits=16), 274: (3, 6), 34675: (7, hostile.srgb_profile())}
    samples = hostile.photo().astype(np.uint16) * 257
    for file, expected, profile in (
        (tiffs.tiff(turned, samples.tobytes()), np.rot90(hostile.photo(), -1), hostile.srgb_profile()),
        (heifs.heic(photo), photo, None),
    ):
        assert upload(alices_program, file) == (204, "")
        url = f"{URL}pictures/{sha256(file)}/png/"
        answer = alices_program.get(url)
        assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
        assert answer["Cache-Control"] == "private, no-store"
        shown = decode_image(answer.content)
        assert (shown.format, shown.image.bits, shown.image.icc_profile) == ("PNG", 8, profile)
        assert np.abs(shown.image.pixels.astype(int) - expected).mean() < 1.5
        assert alices_program.get(f"{URL}pictures/{sha256(file)}/").getvalue() == file
        assert bobs_program.get(url).status_code == 404


def test_a_image_that_cannot_be_shown_is_refused_with_its_reason(alices_program: Client) -> None:
    file = tiffs.photo_tiff({259: (3, 5)})  # not LZW, which only a decoder sees
    assert upload(alices_program, file) == (204, "")
    answer = alices_program.get(f"{URL}pictures/{sha256(file)}/png/")
    assert (answer.status_code, answer.json()["code"]) == (400, "image_damaged")


def test_images_are_shown_one_at_a_time(alices_program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiffs.photo_tiff({})
    assert upload(alices_program, file) == (204, "")
    monkeypatch.setattr(conversions, "WAIT_SECONDS", 0.01)
    with conversions.converting():
        answer = alices_program.get(f"{URL}pictures/{sha256(file)}/png/")
    assert (answer.status_code, answer.json()["code"]) == (503, "try_again")
    assert alices_program.get(f"{URL}pictures/{sha256(file)}/png/").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[]", 400),
        ("{}", 400),
        ('{"revision": -1, "document": {}, "images": []}', 400),
        ('{"revision": 0, "document": [], "images": []}', 400),
        ('{"revision": 0, "document": {}, "images": ["x"]}', 400),
        ('{"revision": 0, "document": {"version": 1, "entries": ' + "[" * 20_000 + "]" * 20_000 + "}}", 400),
        ('{"revision": 0, "document": {"a": [' + "1," * 500_000 + "1]}}", 400),
        ('{"revision": 0, "document": {"a": "' + "a" * DraftParser.max_bytes + '"}}', 413),
        (
            json.dumps({"revision": 0, "document": document(settings={"a": 9}), "pictures": []}).replace("9", "1e999"),
            400,
        ),
    ],
    ids=range(9),
)
def test_other_bodies_are_refused(alices_program: Client, body: str, status: int) -> None:
    assert put(alices_program, body)[0] == status
    assert alices_program.get(URL).json()["revision"] == 0
