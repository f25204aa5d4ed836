"""Who may send a large body, by the head of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from dreamlayer_site.path_tokens import without_token
from dreamlayer_site.server.senders import Sender, sender_of
from inpainting.api.dialects import registered_dialects

pytestmark = pytest.mark.django_db

NATIVE, SD_INPAINT, MODELSLAB = "/api/img2img", "/sd-inpaint/inpaint", "/api/v6/images/inpaint"
AUTOMATIC1111 = "/sdapi/v1/img2img"
FOOOCUS, DEEP_IMAGE = "/v1/engine/generate", "/rest_api/process_result"


def head(path: str = NATIVE, *, method: str = "POST", query: str = "", **headers: str) -> dict[str, Any]:
    named = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ["127.0.0.1", 50_000],
    }


def refused(sender: Sender) -> tuple[int, dict[str, Any]]:
    assert not sender.known
    assert sender.refusal is not None
    return sender.refusal.status_code, json.loads(sender.refusal.content)


@pytest.mark.parametrize("path", [NATIVE, SD_INPAINT, FOOOCUS, DEEP_IMAGE, MODELSLAB])
@pytest.mark.parametrize("header", ["x_api_key", "authorization"])
def test_a_key_of_a_header_is_known(alices_key: str, path: str, header: str) -> None:
    value = f"Bearer {alices_key}" if header == "authorization" else alices_key
    assert sender_of(head(path, **{header: value})) == Sender(known=True)


@pytest.mark.parametrize("path", [NATIVE, SD_INPAINT, FOOOCUS, DEEP_IMAGE])
@pytest.mark.parametrize("key", ["", "dl_live_wrong"])
def test_a_stranger_is_refused_as_the_view_refuses(client: Client, path: str, key: str) -> None:
    headers = {"x_api_key": key} if key else {}
    answer = client.post(path, {}, "application/json", headers={"X-API-Key": key} if key else {})
    assert refused(sender_of(head(path, **headers))) == (answer.status_code, answer.json())
    assert answer.status_code >= 400


def test_a_key_that_is_of_no_use_is_refused(alice: User) -> None:
    key, text = ApiKey.issue(alice)
    reader = ApiKey.issue(alice, scopes=[Scope.READ])[1]
    key.revoke()
    assert refused(sender_of(head(x_api_key=text)))[1]["code"] == "key_revoked"
    assert refused(sender_of(head(x_api_key="dl_live_wrong")))[1]["code"] == "key_invalid"
    assert refused(sender_of(head(x_api_key=reader)))[1]["code"] == "scope_missing"
    assert refused(sender_of(head(query=f"key={text}")))[1]["code"] == "key_in_url"


def test_a_refusal_names_the_scheme_of_authentication() -> None:
    refusal = sender_of(head()).refusal
    assert refusal is not None
    assert refusal["WWW-Authenticate"].startswith("Bearer")


def test_a_session_is_known_without_the_token_that_the_body_holds(alice: User, client: Client) -> None:
    client.force_login(alice)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    assert sender_of(head(cookie=cookie)) == Sender(known=True)
    assert refused(sender_of(head(cookie="sessionid=none")))[0] == 401
    client.logout()
    assert refused(sender_of(head(cookie=cookie)))[0] == 401


def test_a_session_is_none_for_programs_of_other_services(alice: User, client: Client) -> None:
    client.force_login(alice)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    assert refused(sender_of(head(SD_INPAINT, cookie=cookie)))[0] == 401


@pytest.mark.parametrize("key", ["", "dl_live_wrong"])
def test_the_key_may_be_in_the_body_of_modelslab(key: str) -> None:
    headers = {"x_api_key": key} if key else {}
    assert sender_of(head(MODELSLAB, **headers)) == Sender(known=False)


def test_the_local_user_is_known_on_this_machine_alone(settings: Settings) -> None:
    settings.ANONYMOUS_API = "on"
    assert sender_of(head()) == Sender(known=True)
    assert refused(sender_of({**head(), "client": ["192.0.2.1", 50_000]}))[0] == 401
    assert refused(sender_of(head(origin="https://elsewhere.example")))[1]["code"] == "csrf"


def test_a_path_token_is_known(alice: User) -> None:
    token = ApiKey.issue(alice, service="automatic1111")[1]
    assert sender_of(without_token(head(f"/t/{token}{AUTOMATIC1111}"))) == Sender(known=True)
    assert refused(sender_of(without_token(head(f"/t/wrong{AUTOMATIC1111}"))))[0] == 401


def test_a_dialect_says_that_its_key_is_in_the_body() -> None:
    assert [dialect.name for dialect in registered_dialects() if dialect.key_in_body] == ["modelslab"]
