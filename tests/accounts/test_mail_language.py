"""Mails have the language of their account, whatever the browser's is that caused them."""

from __future__ import annotations

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.models import User

PASSWORD = "a rather long one 42"
SIGN_UP = {"password1": PASSWORD, "password2": PASSWORD}
ENGLISH, GERMAN = {"accept-language": "en"}, {"accept-language": "de"}


@pytest.fixture(autouse=True)
def _sends_mail(settings: Settings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_NOTIFICATIONS = True
    cache.clear()


def mails_about(alice: User, headers: dict[str, str]) -> list[str]:
    """Cause each mail to an account by a browser: reset, sign-up with its address, another password."""
    visitor, owner = Client(headers=headers), Client(headers=headers)
    alice.set_password(PASSWORD)
    alice.save()
    owner.force_login(alice)
    assert visitor.post("/accounts/password/reset/", {"email": alice.email}).status_code == 302
    assert visitor.post("/accounts/signup/", {"email": alice.email, **SIGN_UP}).status_code == 302
    changed = {"oldpassword": PASSWORD, "password1": f"{PASSWORD}3", "password2": f"{PASSWORD}3"}
    assert owner.post("/accounts/password/change/", changed).status_code == 302
    return [str(message.body) for message in mail.outbox]


def test_mails_have_the_language_of_the_account(alice: User) -> None:
    alice.language = "de"
    sent = mails_about(alice, ENGLISH)
    assert len(sent) == 3
    assert [body for body in sent if not body.startswith("Hallo")] == []


def test_without_one_they_have_that_of_the_browser(alice: User) -> None:
    assert {body.split()[0] for body in mails_about(alice, GERMAN)} == {"Hallo"}
    mail.outbox.clear()
    cache.clear()
    assert {body.split()[0] for body in mails_about(alice, ENGLISH)} == {"Hello"}


def test_a_language_that_the_site_does_not_offer_any_more_is_not_used(alice: User, settings: Settings) -> None:
    alice.language = "de"
    settings.LANGUAGES = [("en", "English")]
    assert {body.split()[0] for body in mails_about(alice, ENGLISH)} == {"Hello"}
