"""Sign-up, sign-in and sign-out by e-mail, and the first administrator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from django.core import signing
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client
from pytest_django import Settings

from accounts import first_administrator
from accounts.forms import SIGN_UP_HELP
from accounts.models import User
from tests.accounts.codes import is_signed_in

PASSWORD = "a rather long one 42"


@pytest.fixture(autouse=True)
def _counts_of_attempts(db: None) -> Iterator[None]:
    """None of other tests, and none for them."""
    cache.clear()
    yield
    cache.clear()


def test_signing_up_out_and_in_again(client: Client, db: None) -> None:
    form = {"email": "Carol@Example.com", "password1": PASSWORD}
    answer = client.post("/accounts/signup/", form)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/history/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/history/")["Location"] == "/accounts/login/?next=/history/"
    assert "Stay signed in" in client.get("/accounts/login/").content.decode()
    answer = client.post("/accounts/login/", {"login": "carol@example.com", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_with_e_mail_an_account_opens_once_its_address_is_confirmed(
    client: Client, db: None, settings: Settings, mailoutbox: list[EmailMessage]
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    cache.clear()
    client.post("/accounts/signup/", {"email": "carol@example.com", "password1": PASSWORD})
    signing_in = {"login": "carol@example.com", "password": PASSWORD}
    client.post("/accounts/login/", signing_in)
    assert not is_signed_in(client)
    [message] = mailoutbox
    assert message.to == ["carol@example.com"]
    link = next(word for word in str(message.body).split() if "/confirm-email/" in word)
    client.post(link.partition("testserver")[2])
    assert EmailAddress.objects.get().verified
    other = Client()
    assert other.post("/accounts/login/", signing_in)["Location"] == "/"
    assert is_signed_in(other)


def test_one_address_signs_up_twenty_times_a_minute(db: None) -> None:
    cache.clear()
    form = {"email": "carol@example.com", "password1": "short"}
    answers = [Client().post("/accounts/signup/", form) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [*[200] * 20, 429]
    assert Client(REMOTE_ADDR="192.0.2.7").post("/accounts/signup/", form).status_code == 200
    cache.clear()


def test_the_password_is_asked_for_once_with_its_rule_in_a_sentence(client: Client, db: None) -> None:
    page = client.get("/accounts/signup/").content.decode()
    assert page.count('type="password"') == 1
    assert str(SIGN_UP_HELP) in page
    for refused in ("a3!xyzz", "password1", "carol@example.com"):
        client.post("/accounts/signup/", {"email": "carol@example.com", "password1": refused})
    assert not User.objects.exists()


def test_a_wrong_password_is_refused(client: Client, alice: User) -> None:
    answer = client.post("/accounts/login/", {"login": alice.email, "password": "wrong"})
    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session


def test_signing_up_can_be_closed(client: Client, db: None, settings: Settings) -> None:
    settings.SIGNUP_OPEN = False
    form = {"email": "carol@example.com", "password1": PASSWORD}
    client.post("/accounts/signup/", form)
    assert not User.objects.exists()


@pytest.mark.parametrize("path", ["login", "signup", "password/reset"])
def test_every_account_page_is_one_of_ours(client: Client, db: None, path: str) -> None:
    page = client.get(f"/accounts/{path}/").content.decode()
    assert "css/dreamlayer.css" in page


@pytest.mark.parametrize(("verification", "said"), [("none", False), ("mandatory", True)])
def test_without_e_mail_addresses_are_not_verified(
    client: Client, alice: User, settings: Settings, verification: str, said: bool
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = verification
    client.force_login(alice)
    page = client.get("/accounts/email/").content.decode()
    assert alice.email in page
    assert ("Unverified" in page) is said
    assert ("action_send" in page) is said


def test_the_one_time_link_makes_the_first_administrator(client: Client, db: None) -> None:
    link = f"/setup/{first_administrator.make_token()}/"
    assert client.get(link).status_code == 200
    form = {"email": "Boss@example.com", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(link, form)["Location"] == "/welcome/"
    assert b'href="/?sample"' in client.get("/welcome/").content
    assert b"You are its administrator" in client.get("/welcome/").content
    boss = User.objects.get()
    assert boss.is_superuser
    assert boss.email == "boss@example.com"
    assert client.get("/admin/").status_code == 200
    assert client.get(link).status_code == 404  # once


def test_a_forged_or_expired_setup_link_is_not_found(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get(f"/setup/{signing.dumps('setup', salt='other')}/").status_code == 404
    link = f"/setup/{first_administrator.make_token()}/"
    monkeypatch.setattr(first_administrator, "LINK_SECONDS", -1)
    answer = client.get(link)
    assert answer.status_code == 404
    assert b"This link has ended" in answer.content


def test_a_weak_password_is_refused(client: Client, db: None) -> None:
    form = {"email": "boss@example.com", "password1": "12345", "password2": "12345"}
    assert client.post(f"/setup/{first_administrator.make_token()}/", form).status_code == 200
    assert not User.objects.exists()


def test_the_admin_uses_the_same_sign_in_page(client: Client, alice: User) -> None:
    assert client.get("/admin/login/")["Location"].startswith("/accounts/login/")
    client.force_login(alice)
    assert client.get("/admin/", follow=True).status_code == 403


def test_a_script_can_ask_whose_session_it_has(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    signed_out = client.get("/session/")
    assert signed_out.json()["account"] is None
    assert "no-store" in signed_out["Cache-Control"]
    client.force_login(alice)
    answer = client.get("/session/").json()
    assert answer["account"] == str(alice.pk)
    assert client.post("/api/plan/").json()["code"] == "csrf"
    assert client.post("/api/plan/", headers={"X-CSRFToken": answer["csrf_token"]}).status_code == 200
