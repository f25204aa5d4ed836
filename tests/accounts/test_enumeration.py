"""With e-mail configured, the account pages answer alike for addresses with and without an account."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.models import User

PASSWORD = "a rather long one 42"
UNKNOWN = "carol@example.com"


@pytest.fixture(autouse=True)
def _sends_mail(settings: Settings) -> None:
    """As in settings.py with DREAMLAYER_EMAIL_URL; the rate limits count in the cache."""
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    cache.clear()


def answer_to(path: str, form: dict[str, str]) -> tuple[object, ...]:
    """Status, address, cookies and page of the answer, without the address and the tokens."""
    client = Client()
    answer = client.post(f"/accounts/{path}/", form, follow=True)
    cache.clear()
    page = answer.content.decode().replace(form.get("email") or form["login"], "EMAIL")
    page = re.sub(r'(nonce|name="csrfmiddlewaretoken" value)="[^"]+"', r"\1", page)
    return answer.redirect_chain, answer.status_code, sorted(client.cookies), page


@pytest.mark.parametrize("path", ["signup", "password/reset", "login"])
def test_a_known_address_gets_the_answer_of_an_unknown_one(alice: User, path: str) -> None:
    more = {"login": {"password": "a wrong one"}, "signup": {"password1": PASSWORD, "password2": PASSWORD}}.get(
        path, {}
    )
    field = "login" if path == "login" else "email"
    known = answer_to(path, {field: alice.email, **more})
    unknown = answer_to(path, {field: UNKNOWN, **more})
    assert known == unknown


def test_only_the_owner_of_a_known_address_is_told(alice: User) -> None:
    form = {"password1": PASSWORD, "password2": PASSWORD}
    answer_to("signup", {"email": alice.email, **form})
    answer_to("password/reset", {"email": UNKNOWN})
    texts = {message.to[0]: message.body for message in mail.outbox}
    assert "already" in texts[alice.email]
    assert UNKNOWN in texts
    assert User.objects.count() == 1
    assert alice.check_password("correct horse")


def test_a_password_is_hashed_for_a_known_address_too(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def encode(self: MD5PasswordHasher, password: str, salt: str) -> str:
        hashed.append(password)
        return f"md5${salt}$"

    monkeypatch.setattr(MD5PasswordHasher, "encode", encode)
    counts = []
    for email in (alice.email, UNKNOWN):
        hashed.clear()
        answer_to("signup", {"email": email, "password1": PASSWORD, "password2": PASSWORD})
        counts.append(len(hashed))
    assert counts == [1, 1]
