"""API key scopes and expiry, and keys in URLs."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.checks import Error, run_checks
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from accounts.checks import api_views_declare_their_scope, scope_errors
from accounts.models import ApiKey, Scope, User
from inpainting.models import Generation
from tests.accounts.codes import confirm

Generate = Callable[..., Generation]


def program(owner: User, *scopes: str) -> Client:
    return Client(headers={"X-API-Key": ApiKey.issue(owner, scopes=scopes)[1]})


def test_a_key_may_do_everything_unless_it_was_narrowed(alice: User) -> None:
    assert ApiKey.issue(alice)[0].scopes == ["generate", "read", "manage"]
    assert ApiKey.issue(alice, scopes=["read"])[0].scopes == ["read"]


@pytest.mark.parametrize("scopes", [[], ["paint"], ["read", "read"], ["read", ["generate"]]])
def test_invalid_scopes_are_refused(alice: User, scopes: list[str]) -> None:
    with pytest.raises(ValidationError):
        ApiKey.issue(alice, scopes=scopes)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("scope", "method", "path", "missing"),
    [
        ("read", "post", "/api/img2img", "generate"),
        ("manage", "post", "/api/img2img/", "generate"),
        ("read", "post", "/api/generations/{pk}/cancel/", "generate"),
        ("generate", "get", "/api/generations/{pk}/", "read"),
        ("manage", "get", "/api/generations/{pk}/images/0/", "read"),
    ],
)
def test_a_missing_scope_is_named(
    alice: User, generate: Generate, scope: str, method: str, path: str, missing: str
) -> None:
    answer = getattr(program(alice, scope), method)(path.format(pk=generate(alice).pk))
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert f"“{missing}”" in answer.json()["message"]


def test_the_one_scope_that_is_needed_is_enough(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    assert program(alice, "read").get(f"/api/generations/{generation.pk}/").status_code == 200
    assert program(alice, "generate").post("/api/img2img").status_code == 400  # let in; nothing was sent
    assert program(alice, "generate").post(f"/api/generations/{generation.pk}/cancel/").status_code == 409


def test_a_session_has_all_scopes(client: Client, alice: User, generate: Generate) -> None:
    client.force_login(alice)
    assert client.get(f"/api/generations/{generate(alice).pk}/").status_code == 200


def test_an_expired_key_ends_by_itself(alice: User) -> None:
    key, text = ApiKey.issue(alice, expires_at=timezone.now() + timedelta(hours=1))
    client = Client(headers={"X-API-Key": text})
    assert client.post("/api/img2img").status_code == 400
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    answer = client.post("/api/img2img")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_expired")


@pytest.mark.parametrize("name", ["key", "api_key", "x-api-key", "anything"])
def test_a_key_in_the_url_is_refused_and_logged(
    alices_key: str, alices_program: Client, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    for client in (Client(), alices_program):
        answer = client.post(f"/api/img2img?{name}={alices_key}")
        assert (answer.status_code, answer.json()["code"]) == (400, "key_in_url")
    assert alices_key[:16] in caplog.text
    assert alices_key not in caplog.text
    assert Client().post(f"/api/img2img?{name}=something").json()["code"] == "key_missing"


def test_the_command_sets_scopes_and_expiry(alice: User) -> None:
    out = io.StringIO()
    options = ["--scope", "generate", "--scope", "read", "--scope", "read", "--expires-in-days", "7"]
    call_command("create_api_key", alice.email, *options, stdout=out)
    key = ApiKey.find(out.getvalue().strip())
    assert key is not None
    assert key.scopes == ["generate", "read"]
    assert key.expires_at is not None
    assert timedelta(days=6, hours=23) < key.expires_at - timezone.now() <= timedelta(days=7)


@pytest.mark.parametrize("options", [("--scope", "paint"), ("--expires-in-days", "0"), ("--expires-in-days", "x")])
def test_the_command_refuses_invalid_options(alice: User, options: tuple[str, str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", alice.email, *options)
    assert not ApiKey.objects.exists()


def test_the_page_sets_scopes_and_expiry(client: Client, alice: User) -> None:
    client.force_login(alice)
    confirm(client)
    assert client.get("/keys/").content.decode().count("checked") == 3
    page = client.post("/keys/", {"name": "reader", "scopes": ["read"], "expires_in_days": "30"})
    key = ApiKey.objects.get()
    assert key.scopes == ["read"]
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - timezone.now() <= timedelta(days=30)
    assert "Your new key" in page.content.decode()
    client.post("/keys/", {"name": "for ever", "scopes": ["read", "generate"], "expires_in_days": ""})
    assert ApiKey.objects.get(name="for ever").expires_at is None


@pytest.mark.parametrize("wrong", [{"scopes": []}, {"scopes": ["paint"]}, {"scopes": ["read"], "expires_in_days": "2"}])
def test_the_page_refuses_invalid_input(client: Client, alice: User, wrong: dict[str, object]) -> None:
    client.force_login(alice)
    confirm(client)
    assert 'class="error"' in client.post("/keys/", {"name": "x", **wrong}).content.decode()
    assert not ApiKey.objects.exists()


class Notes(APIView):
    required_scope = {"GET": Scope.READ, "POST": Scope.GENERATE}  # noqa: RUF012 - as views have it

    def get(self, request: object) -> Response:
        return Response()

    def post(self, request: object) -> Response:
        return Response()


class Forgetful(Notes):
    required_scope = {"GET": Scope.READ}  # noqa: RUF012 - as views have it


class Ajar(Notes):
    permission_classes = (IsAuthenticated,)


@pytest.mark.parametrize(
    ("view", "method", "scope", "status"),
    [
        (Notes, "GET", "read", 200),
        (Notes, "HEAD", "read", 200),
        (Notes, "POST", "read", 403),
        (Notes, "POST", "generate", 200),
        (Notes, "GET", "generate", 403),
        (Notes, "DELETE", "read", 405),
        (Notes, "OPTIONS", "manage", 200),
        (Forgetful, "POST", "generate", 403),
    ],
)
def test_a_view_can_require_different_scopes_per_method(
    alice: User, view: type[APIView], method: str, scope: str, status: int
) -> None:
    _, key = ApiKey.issue(alice, scopes=[scope])
    request = APIRequestFactory().generic(method, "/notes/", HTTP_X_API_KEY=key)
    assert view.as_view()(request).status_code == status


def test_a_view_without_scope_fails_the_check() -> None:
    assert [str(error.msg) for error in scope_errors(Forgetful)] == [
        "tests.accounts.test_scopes.Forgetful: POST has no required_scope."
    ]
    assert "HasScope" in scope_errors(Ajar)[0].msg
    assert scope_errors(Notes) == []


def test_every_api_view_declares_its_scope() -> None:
    assert api_views_declare_their_scope() == []


def test_manage_py_check_looks_for_views_without_a_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.checks.api_views_declare_their_scope", lambda: [Error("a view without a scope")])
    assert Error("a view without a scope") in run_checks(tags=["urls"])
