"""WCAG 2.2 AA by axe-core, on each page without parameters in its URL and in the states of the editor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Browser, Page, StorageState

from tests.browser.accessibility import violations
from tests.browser.conftest import sign_up, watched_page
from tests.browser.editor_page import generate, open_photo, paint_line
from tests.installation import Installation

NOT_PAGES = ("api/schema/", "livez", "readyz", "admin/jsi18n/", "admin/autocomplete/")
NOT_OURS = ("api/docs/", "admin/")
"""Swagger UI and the pages of Django's admin."""


@pytest.fixture(scope="module")
def site(administered_site: Installation) -> Installation:
    return administered_site


def test_pages_of_an_administrator(
    browser: Browser, site: Installation, administrator: StorageState, screen: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=site.url, storage_state=administrator, **screen)
    for page in watched_page(context):
        found = {path: violations(page) for path in paths() if path != "/accounts/logout/" and opens(page, path)}
        assert len(found) > 8
        assert {path: rules for path, rules in found.items() if rules} == {}


def test_pages_of_a_visitor(browser: Browser, site: Installation, screen: dict[str, Any]) -> None:
    for page in watched_page(browser.new_context(base_url=site.url, **screen)):
        found: dict[str, list[str]] = {}
        for path in paths():
            if opens(page, path) and page.url not in found:
                found[page.url] = violations(page)
        assert len(found) >= 4
        assert {url: rules for url, rules in found.items() if rules} == {}


@pytest.mark.smoke
def test_states_of_the_editor(browser: Browser, site: Installation, screen: dict[str, Any], photo_file: Path) -> None:
    found = {}
    for page in watched_page(browser.new_context(base_url=site.url, **screen)):
        sign_up(page)  # without an earlier draft
        page.goto("/")
        open_photo(page, photo_file)
        found["photo"] = violations(page)
        paint_line(page, from_left=0.4, to_left=0.6)
        found["mask"] = violations(page)
        page.get_by_role("button", name="More for the mask").click()
        found["menu of the mask"] = violations(page)
        page.get_by_role("button", name="Grow").click()
        found["growing"] = violations(page)
        page.get_by_role("button", name="Cancel").click()
        for tool in ("Select an object", "Rectangle", "Extend the photo"):
            page.get_by_role("button", name=tool).click()
            found[tool] = violations(page)
        page.keyboard.press("?")
        found["keys"] = violations(page)
        page.get_by_role("button", name="Close").click()
        generate(page)
        found["result"] = violations(page)
        page.goto("/history/")
        found["history"] = violations(page)
        page.goto(str(page.locator("a[href^='/generations/']").first.get_attribute("href")))
        found["generation"] = violations(page)
    assert {state: rules for state, rules in found.items() if rules} == {}


def opens(page: Page, path: str) -> bool:
    """Open a page. False where it is no HTML page for this person."""
    answer = page.request.get(path, max_redirects=5)
    if not answer.ok or not answer.headers["content-type"].startswith("text/html"):
        return False
    page.goto(path)
    return True


def paths() -> list[str]:
    """The paths of all routes without parameters, in the order of the URL configuration."""
    found = routes(get_resolver().url_patterns)
    return [f"/{route}" for route in found if not route.startswith((*NOT_PAGES, *NOT_OURS))]


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z")
        if "<" in route or "(" in route:
            continue
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route
