"""The language of pages: the account's, the cookie's, the browser's; and what chooses it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User

GERMAN = {"accept-language": "de, en;q=0.5"}


@pytest.fixture(autouse=True)
def two_languages(settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]


@pytest.mark.django_db
def test_a_page_follows_the_browser(client: Client) -> None:
    response = client.get("/accounts/login/", headers=GERMAN)
    assert '<html lang="de">' in response.text
    assert response.headers["Content-Language"] == "de"
    assert "Accept-Language" in response.headers["Vary"]
    assert '<html lang="en">' in client.get("/accounts/login/", headers={"accept-language": "tlh"}).text


@pytest.mark.django_db
def test_the_cookie_precedes_the_browser_and_is_forgotten_on_demand(client: Client) -> None:
    response = client.post("/language/", {"language": "en", "next": "/accounts/login/"}, headers=GERMAN)
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/login/")
    assert '<html lang="en">' in client.get("/accounts/login/", headers=GERMAN).text
    client.post("/language/", {"language": "", "next": "/accounts/login/"})
    assert '<html lang="de">' in client.get("/accounts/login/", headers=GERMAN).text


def test_the_account_precedes_the_cookie(client: Client, alice: User) -> None:
    client.force_login(alice)
    client.post("/language/", {"language": "de"})
    alice.refresh_from_db()
    assert alice.language == "de"
    client.cookies["django_language"] = "en"
    assert '<html lang="de">' in client.get("/account/").text
    client.post("/language/", {"language": "tlh"})
    alice.refresh_from_db()
    assert alice.language == ""


@pytest.mark.django_db
def test_another_site_cannot_choose_the_language() -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/language/", {"language": "de"}).status_code == 403
    assert Client().get("/language/").status_code == 405


@pytest.mark.django_db
def test_the_menu_does_not_lead_to_other_sites(client: Client) -> None:
    response = client.post("/language/", {"language": "de", "next": "https://example.org/"})
    assert response.headers["Location"] == "/"


@pytest.mark.django_db
def test_pages_in_english_load_no_catalog(client: Client) -> None:
    assert "/catalog.js" not in client.get("/accounts/login/").text
    assert '<script src="/catalog.js?language=de&amp;v=' in client.get("/accounts/login/", headers=GERMAN).text


@pytest.mark.django_db
def test_the_catalog_is_a_script_that_may_be_kept(client: Client) -> None:
    response = client.get("/catalog.js?language=de&v=1")
    assert response.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in response.headers["Cache-Control"]
    assert "django.gettext" in response.text
    assert client.get("/catalog.js?language=tlh").status_code == 404


@pytest.mark.django_db
def test_compatible_apis_answer_in_english(client: Client) -> None:
    response = client.get("/sd-inpaint/health", headers=GERMAN)
    assert "Content-Language" not in response.headers
    assert "Accept-Language" not in response.headers.get("Vary", "")


def test_the_account_page_and_the_footer_offer_the_languages(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/account/").text.count('<button type="submit" name="language" value="de" lang="de"') == 2
