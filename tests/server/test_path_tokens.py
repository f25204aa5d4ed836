"""Path tokens: `/t/TOKEN` before the paths of one service, for its clients that have no place for a key."""

from __future__ import annotations

import base64
import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import requests
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from accounts.models import ApiKey, AuditEntry, User
from dreamlayer_site.asgi import application
from dreamlayer_site.path_tokens import ELSEWHERE, split_token, without_token
from dreamlayer_site.server.connections import LimitedChannel
from inpainting.api.dialects import registered_dialects
from inpainting.models import Generation
from tests.accounts.codes import confirm
from tests.conftest import png
from tests.realtime.sockets import HOST, ORIGIN
from tests.support.installation import Installation
from tests.support.services import shipped_nginx

pytestmark = pytest.mark.django_db(transaction=True)
OPTIONS = "/sdapi/v1/options"


async def issued(owner: User, service: str = "automatic1111", **options: Any) -> str:
    _, text = await sync_to_async(ApiKey.issue)(owner, service=service, **options)
    return text


async def call(path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request through all of the server that is ASGI. Return status, headers and body of its response."""
    named = {"host": "localhost", "content-length": str(len(body)), **headers}
    described = {"type": "http", "method": "POST" if body else "GET", "path": path, "query_string": b""}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    make: Any = ApplicationCommunicator  # without types
    communicator = make(
        application, {**described, "headers": pairs, "client": ["127.0.0.1", 5], "server": ["localhost", 80]}
    )
    await communicator.send_input({"type": "http.request", "body": body})
    start = await communicator.receive_output(30)
    parts = [await communicator.receive_output(30)]
    while parts[-1].get("more_body"):
        parts.append(await communicator.receive_output(30))
    await communicator.wait(30)
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], found, b"".join(part.get("body", b"") for part in parts)


def code_of(text: bytes) -> str:
    return str(json.loads(text)["errors"])


def inpaint_body(photo_png: bytes, mask: bytes) -> bytes:
    images = {"image": photo_png, "mask": mask}
    return json.dumps({name: base64.b64encode(data).decode() for name, data in images.items()}).encode()


async def test_a_token_opens_the_paths_of_its_service(alice: User, photo_png: bytes, hole: NDArray[np.uint8]) -> None:
    token = await issued(alice, "iopaint")
    body = inpaint_body(photo_png, png(hole))
    status, _, image = await call(f"/t/{token}/api/v1/inpaint", body, content_type="application/json")
    assert (status, image[:4]) == (200, b"\x89PNG"), image
    generation = await Generation.objects.aget()
    assert (generation.service, generation.owner_id) == ("iopaint", alice.pk)
    assert (await ApiKey.objects.aget()).last_used_at is not None


@pytest.mark.parametrize("path", ["progress", "options", "sd-models", "samplers", "memory"])
async def test_a_client_of_automatic1111_needs_nothing_else(alice: User, path: str) -> None:
    assert (await call(f"/t/{await issued(alice)}/sdapi/v1/{path}"))[0] == 200


@pytest.mark.parametrize("service", ["iopaint", "sd-inpaint"])
async def test_a_token_of_another_service_is_of_no_use(alice: User, service: str) -> None:
    status, _, body = await call(f"/t/{await issued(alice, service)}{OPTIONS}")
    assert (status, code_of(body)) == (401, "This path token is not valid for this service.")


@pytest.mark.parametrize(
    "path", ["/history/", "/api/generations/", "/api/v6/images/fetch/1", "/admin/", "/", "", "/t/x/"]
)
async def test_a_token_opens_nothing_else(alice: User, path: str) -> None:
    assert (await call(f"/t/{await issued(alice)}{path}"))[0] == 404


@pytest.mark.parametrize("slashes", ["//", "///"])
async def test_an_address_that_ends_with_a_slash_works(alice: User, slashes: str) -> None:
    assert (await call(f"/t/{await issued(alice)}{slashes}sdapi/v1/options"))[0] == 200


async def test_no_websocket_knows_the_token(alice: User) -> None:
    token = await issued(alice)
    with pytest.raises(ValueError, match="No route found for path 't/'"):
        await WebsocketCommunicator(application, f"/t/{token}/ws/generations/", headers=[HOST, ORIGIN]).connect()


async def test_a_token_that_ended_is_refused_and_says_why(alice: User) -> None:
    expired = await issued(alice, expires_at=timezone.now() - timedelta(seconds=1))
    revoked = await issued(alice)
    await ApiKey.objects.filter(prefix=revoked[:16]).aupdate(revoked_at=timezone.now())
    messages = {token: code_of((await call(f"/t/{token}{OPTIONS}"))[2]) for token in (expired, revoked)}
    assert [*messages.values()] == ["This API key has expired.", "This API key was revoked."]


async def test_a_wrong_token_does_not_become_the_local_user(settings: Settings, db: None) -> None:
    settings.ANONYMOUS_API = "on"
    assert (await call(OPTIONS))[0] == 200
    assert (await call(f"/t/nonsense{OPTIONS}"))[0] == 401


@pytest.mark.parametrize("header", ["x_api_key", "authorization"])
async def test_a_token_is_no_key(alice: User, header: str) -> None:
    token = await issued(alice)
    value = f"Bearer {token}" if header == "authorization" else token
    for path in (OPTIONS, "/api/generations/"):
        assert (await call(path, b"", **{header: value}))[0] == 401


@pytest.mark.parametrize("path", ["/t/{}/sdapi/v1/options", "/t/{}/history/", "/{}/sdapi/v1/options", "/hf/{}"])
async def test_a_key_in_a_path_is_refused_and_logged(
    alices_key: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, body = await call(path.format(alices_key), *([b"{}"] if "hf" in path else []))
    assert status == 400
    assert b"Do not send an API key in the URL" in body
    assert alices_key[:16] in caplog.text
    assert alices_key not in caplog.text


async def test_the_address_is_passed_on_to_no_page_and_no_cache(alice: User) -> None:
    for path in (f"/t/{await issued(alice)}{OPTIONS}", "/t/nonsense/sdapi/v1/none"):
        headers = (await call(path))[1]
        assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
    assert (await call(OPTIONS))[1]["referrer-policy"] == "same-origin"


async def test_no_log_and_no_link_has_the_token(alice: User, caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("dreamlayer_site.request_context", "django.request"):
        caplog.set_level("DEBUG", logger)
    token = await issued(alice)
    for path in ("/sdapi/v1/options", "/sdapi/v1/none", "/history/", "/sdapi/v1/img2img"):
        _, headers, body = await call(f"/t/{token}{path}", *([b"["] if "img2img" in path else []))
        assert token not in f"{headers}{body.decode()}"
    assert "img2img" in caplog.text
    assert token not in caplog.text


def test_the_paths_under_a_token_are_those_of_services_with_tokens(settings: Settings) -> None:
    assert set(settings.PATH_TOKEN_SERVICES) <= {dialect.name for dialect in registered_dialects()}
    assert split_token("/sdapi/v1/options") == (None, "/sdapi/v1/options")
    for path, service in [("/sdapi/v1/a", "automatic1111"), ("/controlnet/version", "automatic1111")]:
        token, rest = split_token(f"/t/abc{path}")
        assert token is not None
        assert (token.text, token.service, rest) == ("abc", service, path)
    assert split_token("/t/abc/api/img2img")[1] == ELSEWHERE


@pytest.mark.parametrize("path", ["/t/a%2Fb/sdapi/v1/options", "/%74/a/sdapi/v1/options", "/t/a%2F%2Fsdapi/v1/options"])
def test_the_limits_of_bodies_are_those_of_the_view_that_is_called(path: str) -> None:
    channel = LimitedChannel()
    channel._path = f"{path}?a=1".encode()
    assert channel.path == without_token({"path": unquote(path)})["path"]


def test_a_service_without_tokens_gets_none(alice: User) -> None:
    with pytest.raises(ValidationError, match="automatic1111"):
        ApiKey.issue(alice, service="openai")


# The web app of IOPaint


@pytest.fixture
def app_folder(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script src="/assets/a.js"></script>')
    (tmp_path / "assets/a.js").write_text('const image="/assets/a.png",base="/api/v1"')
    (tmp_path / "assets/a.png").write_bytes(b"/assets/")
    settings.IOPAINT_APP = str(tmp_path)


async def test_the_app_of_iopaint_keeps_to_the_addresses_with_the_token(alice: User, app_folder: None) -> None:
    token = await issued(alice, "iopaint")
    for page in ("/iopaint/", "/iopaint"):
        status, headers, body = await call(f"/t/{token}{page}")
        assert (status, body.decode()) == (200, f'<script src="/t/{token}/assets/a.js"></script>')
        assert headers["referrer-policy"] == "no-referrer"
    script = (await call(f"/t/{token}/assets/a.js"))[2].decode()
    assert script == f'const image="/t/{token}/assets/a.png",base="/t/{token}/api/v1"'
    assert (await call(f"/t/{token}/assets/a.png"))[2] == b"/assets/"


async def test_the_app_of_iopaint_is_not_there_for_other_tokens(alice: User, app_folder: None) -> None:
    for token in (await issued(alice), "nonsense"):
        assert (await call(f"/t/{token}/iopaint/"))[0] == 404


# Making and revoking


def test_a_person_makes_sees_and_revokes_a_token(client: Client, alice: User) -> None:
    client.force_login(alice)
    confirm(client)
    page = client.post("/keys/", {"name": "Photoshop", "service": "automatic1111", "scopes": ["manage"]})
    address = re.search(r"http://testserver/t/(dl_path_\w{8}_\w{49})<", page.content.decode())
    assert address is not None
    key = ApiKey.find(address[1], service="automatic1111")
    assert key is not None
    assert key.scopes == ["generate"]
    assert address[1] not in str(ApiKey.objects.values().get())
    listed = client.get("/keys/").content.decode()
    assert "Photoshop" in listed
    assert "generate in AUTOMATIC1111" in listed
    assert address[1] not in listed
    client.post(f"/keys/{key.pk}/revoke/")
    client.post(f"/keys/{key.pk}/revoke/")
    key.refresh_from_db()
    assert not key.is_usable
    entries = AuditEntry.objects.filter(target_type="accounts.apikey", target_id=str(key.pk)).order_by("pk")
    assert [(entry.action, entry.actor_id, entry.after) for entry in entries] == [
        (action, alice.pk, {"service": "automatic1111"}) for action in ("added", "revoked")
    ]


def test_keys_of_users_are_not_in_the_audit_log(client: Client, alice: User) -> None:
    client.force_login(alice)
    confirm(client)
    client.post("/keys/", {"name": "script", "scopes": ["read"]})
    client.post(f"/keys/{ApiKey.objects.get().pk}/revoke/")
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(("sent", "message"), [({}, "at least one scope"), ({"service": "openai"}, "valid choice")])
def test_the_page_refuses_a_key_without_scopes_and_an_unknown_service(
    client: Client, alice: User, sent: dict[str, str], message: str
) -> None:
    client.force_login(alice)
    confirm(client)
    assert message in client.post("/keys/", {"name": "a", **sent}).content.decode()
    assert not ApiKey.objects.exists()


def test_the_command_makes_a_token(alice: User) -> None:
    out = io.StringIO()
    call_command("create_api_key", alice.email, "--in-path-of", "iopaint", stdout=out)
    key = ApiKey.find(out.getvalue().strip(), service="iopaint")
    assert key is not None
    assert key.scopes == ["generate"]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target_id, entry.actor, entry.subject) == ("added", str(key.pk), None, alice)


# A running server


def test_a_picture_is_painted_through_nginx_whose_log_has_no_token(
    open_site: Installation, tmp_path: Path, photo: NDArray[np.uint8], photo_png: bytes,
    hole: NDArray[np.uint8],
) -> None:  # fmt: skip
    token = open_site.manage("create_api_key", "path@example.com", "--create-user", "--in-path-of", "automatic1111")
    images = {"init_images": photo_png, "mask": png(hole)}
    sent = {name: base64.b64encode(data).decode() for name, data in images.items()}
    body = {**sent, "init_images": [sent["init_images"]], "prompt": "", "padding": "x" * 100_000}
    with shipped_nginx(tmp_path, [open_site.port]) as front:
        address = f"{front.url}/t/{token.strip()}"
        painted = requests.post(f"{address}/sdapi/v1/img2img?a=1", json=body, timeout=60)
        refusal = requests.post(f"{front.url}/t/dl_path_no/sdapi/v1/img2img", json=body, timeout=60)
        log = tmp_path / "access.log"
        Installation.wait_until(lambda: len(log.read_text().splitlines()) == 2)
    assert painted.status_code == 200, painted.text
    assert refusal.status_code == 401
    result = np.asarray(Image.open(io.BytesIO(base64.b64decode(painted.json()["images"][0]))))
    assert np.array_equal(result[hole == 0], photo[hole == 0])
    assert not np.array_equal(result, photo)
    logged = log.read_text()
    assert 'POST /t/dl_path_***/sdapi/v1/img2img?a=1 HTTP/1.1" 200' in logged
    assert 'POST /t/dl_path_***/sdapi/v1/img2img HTTP/1.1" 401' in logged
    assert token.strip()[8:] not in logged + open_site.log
