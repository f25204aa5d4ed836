"""Links in mail have the address of the site: nobody can direct an account's token to another port by a Host header."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.handlers.asgi import ASGIRequest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from accounts.site_url import site_url

PASSWORD = "a rather long one 42"
SIGN_UP = {"password1": PASSWORD, "password2": PASSWORD}
OTHER_PORT = "paint.example.org:9999"


@pytest.fixture(autouse=True)
def _sends_mail(settings: Settings) -> None:
    """As in settings.py with DREAMLAYER_EMAIL_URL; the rate limits count in the cache."""
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ALLOWED_HOSTS = ["paint.example.org", "[::1]"]
    cache.clear()


def addresses_in_mail() -> set[str]:
    """The origins of all links in the mails that were sent."""
    assert mail.outbox
    text = "\n".join(f"{message.subject}\n{message.body}" for message in mail.outbox)
    assert "9999" not in text
    return set(re.findall(r"https?://[^/\s]+", text))


def request_all_mails(alice: User, *, host: str, **more: Any) -> None:
    """Cause each mail that a visitor can cause: reset, sign-up, and both for the other kind of address."""
    client = Client(headers={"host": host})
    for email in (alice.email, "nobody@example.com"):
        assert client.post("/accounts/password/reset/", {"email": email}, **more).status_code == 302
    for email in (alice.email, "new@example.com"):
        assert client.post("/accounts/signup/", {"email": email, **SIGN_UP}, **more).status_code == 302
    assert len(mail.outbox) == 4


@pytest.mark.parametrize("host", [OTHER_PORT, "paint.example.org"])
def test_the_port_is_that_of_the_connection(alice: User, host: str) -> None:
    request_all_mails(alice, host=host, SERVER_PORT="8000")
    assert addresses_in_mail() == {"http://paint.example.org:8000"}


def test_behind_tls_there_is_no_port(alice: User, settings: Settings) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    request_all_mails(alice, host=OTHER_PORT, SERVER_PORT="8000", HTTP_X_FORWARDED_PROTO="https")
    assert addresses_in_mail() == {"https://paint.example.org"}


def test_a_configured_address_is_used_for_every_host(alice: User, settings: Settings) -> None:
    settings.SITE_URL = "https://paint.example.org:8443"
    request_all_mails(alice, host="[::1]:9999")
    assert addresses_in_mail() == {"https://paint.example.org:8443"}


def test_the_server_knows_its_port() -> None:
    """From the connection, as the ASGI handler gets it from Daphne, not from a header."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "server": ["::1", 8000],
        "headers": [(b"host", b"[::1]:9999")],
    }
    assert site_url(ASGIRequest(scope, BytesIO())) == "http://[::1]:8000"


def test_the_link_in_the_mail_works(alice: User, client: Client) -> None:
    client.post("/accounts/password/reset/", {"email": alice.email}, headers={"host": OTHER_PORT})
    path = re.findall(r"http://paint\.example\.org(/\S+)", str(mail.outbox[0].body))[0]
    page = client.get(path, headers={"host": "paint.example.org"}, follow=True)
    assert "Change Password" in page.content.decode() or "new password" in page.content.decode().lower()


@pytest.mark.parametrize(
    "url", ["paint.example.org", "https://paint.example.org/here", "ftp://paint.example.org", "https://"]
)
def test_an_address_that_is_none_is_refused_at_the_start(settings: Settings, url: str) -> None:
    settings.SITE_URL = url
    assert [error.id for error in run_checks(tags=["security"])] == ["dreamlayer.E013"]


def test_each_port_of_a_host_header_has_the_same_attempts(alice: User) -> None:
    for number in range(6):
        page = Client().post(
            "/accounts/login/",
            {"login": alice.email, "password": "guess"},
            headers={"host": f"paint.example.org:{number + 1}"},
        )
    assert "Too many failed login attempts" in page.content.decode()
