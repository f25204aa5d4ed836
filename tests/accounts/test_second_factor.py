"""Signing in with a second factor, and attacks on it."""

from __future__ import annotations

import json

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.mfa import MfaAdapter
from accounts.models import User
from tests.accounts.codes import (
    SECRET,
    add_app,
    code_of_app,
    enter_code,
    enter_password,
    is_signed_in,
    recovery_codes,
)

ALICES, BOBS = "correct horse", "battery staple"
CLOCK = 1_800_000_015.0
"""In the middle of a period, so that a code stays valid for the whole test."""


@pytest.fixture(autouse=True)
def _fresh_counters() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: CLOCK)


@pytest.fixture
def protected(alice: User) -> User:
    """Alice with an authenticator app."""
    add_app(alice)
    return alice


def test_the_code_of_the_app_signs_in_after_the_password(client: Client, protected: User) -> None:
    assert enter_password(client, protected, ALICES)["Location"] == "/accounts/2fa/authenticate/"
    assert not is_signed_in(client)
    assert enter_code(client, code_of_app())["Location"] == "/"
    assert is_signed_in(client)


@pytest.mark.parametrize("path", ["/history/", "/account/", "/keys/", "/admin/", "/api/generations/", "/api/usage/"])
def test_the_password_alone_opens_neither_pages_nor_api_nor_admin(client: Client, protected: User, path: str) -> None:
    protected.is_staff = protected.is_superuser = True
    protected.save()
    enter_password(client, protected, ALICES)
    answer = client.get(path)
    assert answer.status_code == 401 if path.startswith("/api/") else "/login/" in answer["Location"]
    posted = client.post(path, {"username": protected.email, "password": ALICES})  # as the form of Django's admin
    assert posted.status_code in (302, 401, 403, 405)
    assert not is_signed_in(client)


def test_the_sign_in_page_of_the_admin_is_no_way_around(client: Client, protected: User) -> None:
    protected.is_staff = protected.is_superuser = True
    protected.save()
    answer = client.post("/admin/login/?next=/admin/", {"username": protected.email, "password": ALICES})
    assert answer["Location"].startswith("/accounts/login/")
    assert not is_signed_in(client)


def test_a_reset_of_the_password_is_no_way_around(client: Client, protected: User, mailoutbox: list[object]) -> None:
    client.post("/accounts/password/reset/", {"email": protected.email})
    link = next(word for word in mailoutbox[0].body.split() if "/reset/key/" in word)  # type: ignore[attr-defined]
    form = client.get(link.partition("testserver")[2])["Location"]
    changed = client.post(form, {"password1": "quite another one 7", "password2": "quite another one 7"})
    assert changed.status_code == 302
    assert not is_signed_in(client)
    assert enter_password(client, protected, "quite another one 7")["Location"] == "/accounts/2fa/authenticate/"
    assert not is_signed_in(client)


def test_a_used_code_is_refused_within_its_period(client: Client, protected: User) -> None:
    code = code_of_app()
    enter_password(client, protected, ALICES)
    enter_code(client, code)
    thief = Client()
    enter_password(thief, protected, ALICES)
    assert b"Incorrect code" in enter_code(thief, code).content
    assert not is_signed_in(thief)


@pytest.mark.parametrize("periods", [-1, 1])
def test_codes_of_other_periods_are_refused(client: Client, protected: User, periods: int) -> None:
    enter_password(client, protected, ALICES)
    enter_code(client, code_of_app(periods=periods))
    assert not is_signed_in(client)


def test_guessing_ends_after_five_codes_from_any_number_of_sessions_and_addresses(protected: User) -> None:
    for number in range(5):
        guesser = Client(REMOTE_ADDR=f"192.0.2.{number}")
        enter_password(guesser, protected, ALICES)
        assert b"Incorrect code" in enter_code(guesser, "000000").content
    last = Client(REMOTE_ADDR="192.0.2.99")
    enter_password(last, protected, ALICES)
    assert b"Too many" in enter_code(last, code_of_app()).content
    assert not is_signed_in(last)


def test_requests_for_other_accounts_do_not_reset_the_count_of_guesses(protected: User) -> None:
    guesser = Client()
    enter_password(guesser, protected, ALICES)
    for _ in range(5):
        enter_code(guesser, "000000")
    for number in range(1000):  # as many counters as requests from a thousand addresses leave
        cache.set(f"allauth:rl:other:{number}", [CLOCK], 300)
    assert b"Too many" in enter_code(guesser, code_of_app()).content
    assert not is_signed_in(guesser)


def test_a_recovery_code_signs_in_once(client: Client, protected: User) -> None:
    first, second, *_ = recovery_codes(protected)
    enter_password(client, protected, ALICES)
    assert enter_code(client, first)["Location"] == "/"
    again = Client()
    enter_password(again, protected, ALICES)
    enter_code(again, first)
    assert not is_signed_in(again)
    enter_code(again, second)
    assert is_signed_in(again)


def test_the_code_of_somebody_else_is_refused(client: Client, protected: User, bob: User) -> None:
    """Bob's app has Alice's secret on no account: his recovery codes do not sign her in."""
    add_app(bob)
    enter_password(client, protected, ALICES)
    enter_code(client, recovery_codes(bob)[0])
    assert not is_signed_in(client)


def test_a_code_without_a_password_is_refused(client: Client, protected: User) -> None:
    assert "/accounts/login/" in enter_code(client, code_of_app())["Location"]
    assert not is_signed_in(client)


def test_the_session_key_changes_with_each_step_so_that_a_planted_one_is_worthless(
    client: Client, protected: User
) -> None:
    client.get("/accounts/login/")
    client.session.save()
    planted = client.session.session_key
    enter_password(client, protected, ALICES)
    enter_code(client, code_of_app())
    assert planted
    assert planted != client.session.session_key
    thief = Client()
    thief.cookies["sessionid"] = planted
    assert "/login/" in thief.get("/account/")["Location"]
    assert is_signed_in(client)


@pytest.mark.parametrize("path", ["totp/activate", "totp/deactivate", "recovery-codes/generate", "webauthn/add"])
def test_factors_are_changed_only_after_confirming_who_one_is(client: Client, protected: User, path: str) -> None:
    """A stolen session is not enough to take the second factor off, to read the codes or to add a key."""
    recovery_codes(protected)
    client.force_login(protected)
    if path == "totp/activate":
        Authenticator.objects.filter(type="totp").delete()
    assert client.get(f"/accounts/2fa/{path}/")["Location"].startswith("/accounts/")
    answer = client.post(f"/accounts/2fa/{path}/", {})
    assert "reauthenticate" in answer["Location"]
    assert Authenticator.objects.filter(user=protected).exists()
    for readable in ("", "download/"):
        assert "reauthenticate" in client.get(f"/accounts/2fa/recovery-codes/{readable}")["Location"]


def test_no_page_with_secrets_is_cached(client: Client, protected: User) -> None:
    recovery_codes(protected)
    client.force_login(protected)
    client.post("/accounts/reauthenticate/", {"password": ALICES})
    pages = [client.get(f"/accounts/2fa/recovery-codes/{readable}") for readable in ("", "download/")]
    Authenticator.objects.all().delete()
    pages.append(client.get("/accounts/2fa/totp/activate/"))
    assert [page.status_code for page in pages] == [200] * 3
    assert all("no-store" in page["Cache-Control"] for page in pages)


def test_addresses_are_changed_only_after_confirming_who_one_is(client: Client, alice: User) -> None:
    client.force_login(alice)
    answer = client.post("/accounts/email/", {"action_add": "", "email": "thief@example.com"})
    assert "reauthenticate" in answer["Location"]


def test_the_passkey_of_somebody_else_is_neither_renamed_nor_removed(client: Client, alice: User, bob: User) -> None:
    key = Authenticator.objects.create(user=alice, type="webauthn", data={"name": "hers"})
    client.force_login(bob)
    client.post("/accounts/reauthenticate/", {"password": BOBS})
    for action in ("edit", "remove"):
        path = f"/accounts/2fa/webauthn/keys/{key.pk}/{action}/"
        assert client.get(path).status_code == client.post(path, {"name": "his"}).status_code == 404
    key.refresh_from_db()
    assert key.data["name"] == "hers"


@pytest.mark.parametrize(
    "credential",
    ["", "{}", "null", "[]", '"a"', '{"response": null}', json.dumps({"id": "AA", "response": {"userHandle": "MQ"}})],
)
def test_a_made_up_passkey_is_refused(client: Client, alice: User, credential: str) -> None:
    client.get("/accounts/2fa/webauthn/login/", headers={"Accept": "application/json"})
    answer = client.post("/accounts/2fa/webauthn/login/", {"credential": credential})
    assert answer["Location"] == "/accounts/login/"
    assert not is_signed_in(client)


def test_secrets_are_encrypted_and_a_new_secret_key_makes_no_code_valid(
    client: Client, protected: User, settings: Settings
) -> None:
    stored = Authenticator.objects.get(user=protected).data["secret"]
    assert SECRET not in stored
    assert MfaAdapter().decrypt(stored) == SECRET
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another one"
    assert MfaAdapter().decrypt(stored) not in (SECRET, "")
    settings.SECRET_KEY_FALLBACKS = [former]
    assert MfaAdapter().decrypt(stored) == SECRET


def test_administrators_see_no_secrets_and_can_turn_a_lost_factor_off(client: Client, protected: User) -> None:
    boss = User.objects.create_superuser("boss@example.com", "boss-of-it-all")
    client.force_login(boss)
    factor = Authenticator.objects.get(user=protected)
    page = client.get(f"/admin/mfa/authenticator/{factor.pk}/change/").content.decode()
    assert protected.email in page
    assert factor.data["secret"] not in page
    client.post(f"/admin/mfa/authenticator/{factor.pk}/delete/", {"post": "yes"})
    assert not Authenticator.objects.exists()
