"""Addresses and passwords changed by mail: a real server, a real SMTP server, and links that are followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.installation import Installation
from tests.support.mail_server import MailServer, mail_server

PASSWORD, OTHER_PASSWORD = "dusk-over-the-bench-42", "dawn-under-the-bridge-24"
people = (f"writer{number}@example.org" for number in count(1))


@pytest.fixture(scope="module")
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture(scope="module")
def site(mails: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Each address has its own limits, so tests share the server."""
    site = Installation(tmp_path_factory.mktemp("mailing"), DREAMLAYER_EMAIL_URL=mails.url)
    site.migrate()
    with site.serving():
        yield site


class Visitor:
    """A browser without scripts, which fills in forms."""

    def __init__(self, site: Installation) -> None:
        self.site, self.session = site, requests.Session()

    def get(self, path: str) -> requests.Response:
        """path: or a link of this site."""
        url = path if path.startswith("http") else self.site.url + path
        assert url.startswith(f"{self.site.url}/")
        return self.session.get(url, timeout=60)

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> requests.Response:
        page = self.get(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token, page.text[:2000]
        data = {"csrfmiddlewaretoken": token[1], **fields}
        return self.session.post(page.url, data=data, headers={"Referer": page.url, **(headers or {})}, timeout=60)

    def sign_in(self, email: str, password: str) -> bool:
        self.session.cookies.clear()
        self.post("/accounts/login/", login=email, password=password)
        return self.is_signed_in()

    def is_signed_in(self) -> bool:
        return urlsplit(self.get("/account/").url).path == "/account/"


@pytest.fixture
def visitor(site: Installation) -> Visitor:
    return Visitor(site)


@pytest.fixture
def writer(visitor: Visitor, mails: MailServer) -> str:
    """The address of a user who has confirmed it, and is signed in as `visitor`."""
    email = next(people)
    visitor.post("/accounts/signup/", email=email, password1=PASSWORD)
    assert not visitor.sign_in(email, PASSWORD), "the address is not confirmed yet"
    visitor.post(mails.link_to(email))
    assert visitor.sign_in(email, PASSWORD)
    mails.messages.clear()
    return email


def test_a_new_address_is_confirmed_by_its_own_mail_and_the_old_one_is_told(
    site: Installation, visitor: Visitor, writer: str, mails: MailServer
) -> None:
    new = next(people)
    visitor.post("/accounts/reauthenticate/", password=PASSWORD)
    visitor.post("/accounts/email/", action_add="", email=new)
    link = mails.link_to(new)
    visitor.post("/accounts/email/", action_primary="", email=new)
    assert Visitor(site).sign_in(writer, PASSWORD), "an address that is not confirmed replaces none"
    assert visitor.sign_in(writer, PASSWORD)

    stranger = Visitor(site)
    assert stranger.post(link).ok
    assert not stranger.is_signed_in(), "the link of an address is no password"
    again = stranger.get(link)
    assert again.status_code == 200
    assert "csrfmiddlewaretoken" not in again.text.partition("<main")[2].partition("</main>")[0], "used once"

    visitor.post("/accounts/reauthenticate/", password=PASSWORD)
    visitor.post("/accounts/email/", action_primary="", email=new)
    visitor.post("/accounts/email/", action_remove="", email=writer)
    assert f"changed from {writer} to {new}" in mails.next_to(writer)
    assert not Visitor(site).sign_in(writer, PASSWORD)
    assert Visitor(site).sign_in(new, PASSWORD)


def test_a_link_for_a_new_password_works_once_signs_others_out_and_its_owner_is_told(
    site: Installation, visitor: Visitor, writer: str, mails: MailServer
) -> None:
    stranger = Visitor(site)
    stranger.post("/accounts/password/reset/", email=writer)
    stranger.post("/accounts/password/reset/", email="nobody@example.org")
    link = mails.link_to(writer)
    assert "nobody" not in mails.next_to("nobody@example.org").partition("\n")[0]
    assert visitor.is_signed_in()
    page = stranger.post(link, password1=OTHER_PASSWORD, password2=OTHER_PASSWORD)
    assert page.ok
    assert not visitor.is_signed_in()
    assert "password" in mails.next_to(writer)
    for path in (link, page.url):
        again = Visitor(site).get(path)
        assert 'type="password"' not in again.text
    assert not Visitor(site).sign_in(writer, PASSWORD)
    assert Visitor(site).sign_in(writer, OTHER_PASSWORD)


def test_a_link_for_a_new_password_ends_with_the_address_it_was_sent_to(
    site: Installation, visitor: Visitor, writer: str, mails: MailServer
) -> None:
    """Who has read the old mailbox keeps no way in."""
    Visitor(site).post("/accounts/password/reset/", email=writer)
    link, new = mails.link_to(writer), next(people)
    visitor.post("/accounts/reauthenticate/", password=PASSWORD)
    visitor.post("/accounts/email/", action_add="", email=new)
    visitor.post(mails.link_to(new))
    visitor.post("/accounts/email/", action_primary="", email=new)
    assert 'type="password"' not in Visitor(site).get(link).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:9"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Port": "9"},
        {"Forwarded": "host=evil.example"},
        {"X-Forwarded-Proto": "https"},
        {"X-Original-Host": "evil.example"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_no_header_directs_the_link_elsewhere(
    site: Installation, visitor: Visitor, writer: str, mails: MailServer, headers: dict[str, str]
) -> None:
    """Host with the port of somebody else's program on this machine: the name is allowed."""
    origin = f"http://{headers['Host']}" if "Host" in headers else site.url
    referer = {"Referer": f"{origin}/accounts/password/reset/", "Origin": origin}
    assert Visitor(site).post("/accounts/password/reset/", {**referer, **headers}, email=writer).ok
    assert mails.link_to(writer).startswith(f"{site.url}/")


def test_a_host_that_is_not_the_sites_is_refused(site: Installation, writer: str, mails: MailServer) -> None:
    headers = {"Host": "evil.example", "Referer": "http://evil.example/", "Origin": "http://evil.example"}
    assert Visitor(site).post("/accounts/password/reset/", headers, email=writer).status_code == 400
    assert mails.messages == []
