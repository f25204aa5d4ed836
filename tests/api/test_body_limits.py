"""Limits of request bodies: their size by route, and the number of values before they are parsed."""

from __future__ import annotations

import gc
import json
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.conf import settings as site
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from rest_framework.exceptions import ParseError

from dreamlayer_site.server.body_limit import BodyLimitMiddleware, max_body_bytes
from inpainting.api import parsers
from inpainting.core.errors import InvalidRequest

pytestmark = pytest.mark.django_db


def post(client: Client, path: str, body: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    answer = cast("HttpResponse", client.generic("POST", path, body, content_type=content_type))
    return answer.status_code, json.loads(answer.content)


@pytest.mark.parametrize("name", ["img2img", "plan", "batch-list"])
def test_a_route_that_takes_images_takes_large_bodies(name: str) -> None:
    assert max_body_bytes(reverse(name)) == site.MAX_BODY_BYTES
    slashed = reverse(name).rstrip("/") + "/"
    assert max_body_bytes(slashed) == site.MAX_BODY_BYTES


def test_bodies_with_files_are_larger_where_images_may_be(settings: Any) -> None:
    settings.MAX_FILE_BODY_BYTES = 544 * 2**20
    for media_type in (
        "multipart/form-data; boundary=x",
        "Multipart/Form-Data",
        "image/png",
        "application/octet-stream",
    ):
        assert max_body_bytes(reverse("img2img"), media_type) == settings.MAX_FILE_BODY_BYTES
        assert max_body_bytes("/api/tickets/", media_type) == 64 * 1024
    for media_type in ("application/json", "application/x-www-form-urlencoded", "text/plain", ""):
        assert max_body_bytes(reverse("img2img"), media_type) == settings.MAX_BODY_BYTES


@pytest.mark.parametrize("path", ["/api/tickets/", "/api/webhooks/test/", "/accounts/login/", "/", "/nowhere"])
def test_other_routes_take_small_bodies(path: str) -> None:
    assert max_body_bytes(path) == 64 * 1024


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v6/images/nowhere", 404), ("/rest_api/nowhere", 404), ("/nowhere", 404), ("/api/tickets/", 413)],
)
@pytest.mark.parametrize("head", [[(b"content-length", b"70000")], []], ids=["announced", "chunked"])
async def test_a_large_body_to_a_path_that_leads_nowhere_is_a_404(
    path: str, status: int, head: list[tuple[bytes, bytes]]
) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": bytes(70_000), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": head}
    await BodyLimitMiddleware(application)(scope, receive, send)
    assert sent[0]["status"] == status
    assert json.loads(sent[1]["body"])


@pytest.mark.parametrize("value", [b"[],", b'{"a":1},', b"1,"])
def test_json_of_many_values_is_refused_before_it_is_parsed(
    alices_program: Client, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    monkeypatch.setattr(parsers, "json_object", lambda text: pytest.fail("it was parsed"))
    status, problem = post(alices_program, "/api/img2img", b'{"prompt": [' + value * 20_001 + b"0]}")
    assert (status, problem["code"], problem["limit"]) == (400, "body_too_many_values", 20_000)


def test_nested_json_is_refused(alices_program: Client) -> None:
    for depth in (10_000, 30_000):
        status, problem = post(alices_program, "/api/img2img", b'{"a":' + b"[" * depth)
        assert (status, problem["status"]) == (400, "error")


def test_params_of_many_values_are_refused(alices_program: Client) -> None:
    answer = alices_program.post("/api/img2img", {"params": "[" * 20_001})
    assert (answer.status_code, answer.json()["code"]) == (400, "body_too_many_values")
    body = b"params=" + b"[" * 20_001
    status, problem = post(alices_program, "/api/img2img", body, "application/x-www-form-urlencoded")
    assert (status, problem["code"]) == (400, "body_too_many_values")


def test_a_text_that_is_larger_than_an_image_in_base64_is_refused(alices_program: Client, settings: Any) -> None:
    settings.MAX_IMAGE_MB = 1
    for size, code in ((3 * 2**19, "image_too_large"), (3 * 2**19 + 1, "body_too_large")):
        answer = alices_program.post("/api/img2img", {"image": "A" * size, "mask": "A", "prompt": "a"})
        assert (answer.status_code, answer.json()["code"]) == (413, code)


def test_an_urlencoded_form_of_many_escapes_is_refused(alices_program: Client) -> None:
    body = b"prompt=" + b"%41" * 400_001
    status, problem = post(alices_program, "/api/img2img", body, "application/x-www-form-urlencoded")
    assert (status, problem["code"], problem["limit"]) == (400, "body_too_many_values", 400_000)


def test_large_bodies_are_parsed_one_at_a_time_and_without_garbage_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[bool, bool]] = []

    def note(text: str, storable: bool) -> None:
        held.append((parsers._large_body.locked(), gc.isenabled()))

    monkeypatch.setattr(parsers, "json_object", note)
    for size in (100, parsers.LARGE_BYTES):
        parsers.JsonObjectParser().parse(BytesIO(b" " * size + b"{}"))
    assert held == [(False, True), (True, False)]
    assert gc.isenabled()


def test_the_texts_of_a_large_form_are_counted_before_the_next_form_is_parsed(
    alices_program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, bool] = {}
    counting = SimpleNamespace(count=lambda text: held.update({text.strip(): parsers._large_body.locked()}))
    monkeypatch.setattr(parsers, "JSON_VALUES", counting)
    alices_program.post("/api/img2img", {"params": "[]" + " " * parsers.LARGE_BYTES, "prompt": ["a", "b"]})
    assert held == {"[]": True, "a": True, "b": True}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": "\\ud800"}', ParseError),
        (b'{"a": "\xed\xa0\x80"}', ParseError),
        (b'{"a": "\xff"}', ParseError),
        (b'{"a": "\\u0000"}', ParseError),
        (b"\t\x0c", ParseError),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a": [1e999]}', ParseError),
        (b'{"a": -1e999}', ParseError),
        (b'{"a": 1e308}', {"a": 1e308}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"a": "\\u00e9"}', {"a": "é"}),
        (b"  ", {}),
        (b"[" * 20_001, InvalidRequest),
    ],
)
def test_json_is_text(data: bytes, expected: Any) -> None:
    if isinstance(expected, dict):
        assert parsers.JsonObjectParser().parse(BytesIO(data)) == expected
        return
    with pytest.raises(expected):
        parsers.JsonObjectParser().parse(BytesIO(data))


def test_a_text_is_counted_as_its_bytes_are() -> None:
    limit = parsers.Limit(b",[", 3, "values")
    for data in (",[é,", ",[é,".encode()):
        assert limit.count(data) == 3
        with pytest.raises(InvalidRequest):
            limit.count(data, before=1)
