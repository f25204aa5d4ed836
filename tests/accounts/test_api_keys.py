"""API keys: shown once, stored as a hash, revoked from the next request on."""

from __future__ import annotations

import base64
import io
import re

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import first_administrator
from accounts.models import ApiKey, Scope, User
from tests.accounts.codes import confirm


def test_only_a_hash_of_the_key_is_stored(alice: User) -> None:
    key, text = ApiKey.issue(alice)
    assert re.fullmatch(r"dl_live_\w{8}_\w{49}", text)
    stored = ApiKey.objects.filter(pk=key.pk).values().get()
    assert not [value for value in stored.values() if isinstance(value, str) and text[17:] in value]
    assert ApiKey.find(text) == key


def test_a_key_with_one_changed_character_is_unknown(alice: User) -> None:
    _, text = ApiKey.issue(alice)
    for place in (10, 30, len(text) - 1):
        other = "x" if text[place] != "x" else "y"
        assert ApiKey.find(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize("header", ["bearer", "x-api-key"])
def test_a_program_signs_in_with_its_key(alices_key: str, header: str) -> None:
    headers = {"Authorization": f"Bearer {alices_key}"} if header == "bearer" else {"X-API-Key": alices_key}
    answer = Client(headers=headers).post("/api/img2img")
    assert answer.status_code == 400  # known, but nothing was sent
    assert ApiKey.objects.get().last_used_at is not None


def basic(user_and_password: str) -> Client:
    return Client(headers={"Authorization": f"Basic {base64.b64encode(user_and_password.encode()).decode()}"})


@pytest.mark.parametrize("user", ["", "alice"])
def test_a_key_may_be_the_password_of_http_basic(alices_key: str, user: str) -> None:
    assert basic(f"{user}:{alices_key}").post("/api/img2img").status_code == 400  # known, but nothing was sent


@pytest.mark.parametrize(
    ("credentials", "code"),
    [("proxy:secret", "key_missing"), ("x:dl_live_x", "key_invalid"), ("dl_live_x", "key_missing")],
)
def test_other_passwords_of_http_basic_are_no_keys(db: None, credentials: str, code: str) -> None:
    answer = basic(credentials).post("/api/img2img")
    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_the_password_of_a_proxy_leaves_the_key_of_the_other_header(db: None, alices_key: str) -> None:
    headers = {"Authorization": "Basic !", "X-API-Key": alices_key}
    assert Client(headers=headers).post("/api/img2img").status_code == 400


@pytest.mark.parametrize(
    ("text", "code"),
    [(None, "key_missing"), ("dl_live_nonsense", "key_invalid"), ("", "key_invalid"), ("ключ", "key_invalid")],
)
def test_a_missing_and_a_wrong_key_have_different_codes(db: None, text: str | None, code: str) -> None:
    client = Client(headers={"X-API-Key": text.encode().decode("latin-1")}) if text is not None else Client()
    answer = client.post("/api/img2img")
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.json()["status"] == "error"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_key_ends_at_the_next_request(alices_key: str, alices_program: Client) -> None:
    assert alices_program.post("/api/img2img").status_code == 400
    assert ApiKey.objects.get().revoke()
    answer = alices_program.post("/api/img2img")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")
    assert not ApiKey.objects.get().revoke()


def test_the_key_of_a_disabled_account_does_not_work(alice: User, alices_program: Client) -> None:
    alice.is_active = False
    alice.save()
    assert alices_program.post("/api/img2img").json()["code"] == "key_invalid"


def test_the_command_prints_only_the_key(alice: User) -> None:
    out = io.StringIO()
    call_command("create_api_key", "Alice@Example.com", "--name", "laptop", stdout=out)
    text = out.getvalue()
    assert text.endswith("\n")
    key = ApiKey.find(text.strip())
    assert key is not None
    assert (key.owner, key.name) == (alice, "laptop")


def test_the_command_creates_an_account_only_with_the_option(db: None) -> None:
    with pytest.raises(CommandError, match="--create-user"):
        call_command("create_api_key", "new@example.com")
    call_command("create_api_key", "new@example.com", "--create-user", stdout=io.StringIO())
    assert not User.objects.get(email="new@example.com").has_usable_password()
    with pytest.raises(CommandError, match="not an e-mail address"):
        call_command("create_api_key", "nonsense", "--create-user")


def test_a_person_makes_sees_and_revokes_their_keys(client: Client, alice: User, bob: User) -> None:
    client.force_login(alice)
    confirm(client)
    page = client.post("/keys/", {"name": "my laptop", "scopes": list(Scope.values)}).content.decode()
    shown_key = max(re.findall(r"dl_live_\w+", page), key=len)
    key = ApiKey.objects.get()
    assert Client(headers={"X-API-Key": shown_key}).get("/api/generations/").status_code == 200
    assert "my laptop" in client.get("/keys/").content.decode()
    client.force_login(bob)
    assert "my laptop" not in client.get("/keys/").content.decode()
    assert client.post(f"/keys/{key.pk}/revoke/").status_code == 404
    client.force_login(alice)
    assert client.get(f"/keys/{key.pk}/revoke/").status_code == 405
    assert "my laptop" in client.get("/keys/").content.decode()

    after = client.post(f"/keys/{key.pk}/revoke/", follow=True)
    assert [str(message) for message in after.context["messages"]] == ["The key “my laptop” no longer works."]
    assert list(after.context["keys"]) == []
    assert "my laptop" not in client.get("/keys/").content.decode()
    answer = Client(headers={"X-API-Key": shown_key}).get("/api/generations/")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")


def test_a_stolen_session_makes_no_key_until_the_password_is_entered(client: Client, alice: User) -> None:
    client.force_login(alice)
    sent = {"name": "my laptop", "scopes": ["read", "generate"], "expires_in_days": "30"}
    asked = client.post("/keys/", sent)
    assert asked["Location"] == "/accounts/reauthenticate/?next=%2Fkeys%2F"
    client.post(asked["Location"], {"password": "a guess", "next": "/keys/"})
    assert not ApiKey.objects.exists()
    made = client.post(asked["Location"], {"password": "correct horse", "next": "/keys/"})
    key = ApiKey.objects.get()  # what was sent first is not lost
    assert (key.name, key.scopes, key.expires_at is not None) == ("my laptop", ["read", "generate"], True)
    assert key.prefix in made.content.decode()
    assert "no-store" in made["Cache-Control"]


def test_pages_with_keys_are_not_stored(client: Client, alice: User) -> None:
    client.force_login(alice)
    confirm(client)
    made = client.post("/keys/", {"name": "my laptop", "scopes": list(Scope.values)})
    setup = client.get(f"/setup/{first_administrator.make_token()}/")
    for answer in (client.get("/keys/"), made, setup, Client().get("/keys/")):
        assert "no-store" in answer["Cache-Control"]


def test_a_key_ends_its_links_only_if_that_is_chosen(client: Client, alice: User) -> None:
    client.force_login(alice)
    confirm(client)
    client.post("/keys/", {"name": "plain", "scopes": ["read"]})
    page = client.post("/keys/", {"name": "strict", "scopes": ["read"], "ends_links": "on"}).content.decode()
    assert 'name="ends_links"' in page
    call_command("create_api_key", alice.email, "--name", "command", "--ends-links", stdout=io.StringIO())
    chosen = dict(ApiKey.objects.values_list("name", "ends_links"))
    assert chosen == {"plain": False, "strict": True, "command": True}
