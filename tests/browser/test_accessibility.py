"""WCAG 2.2 AA by axe-core, on every page of the URL configuration and in the states of the editor."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from django.urls import get_resolver
from playwright.sync_api import Browser, StorageState, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import sign_up, watched_page
from tests.browser.devices import press
from tests.browser.editor_page import Pixels, generate, open_photo, paint_line, white_square
from tests.browser.routes import named_routes, opens, paths
from tests.conftest import png
from tests.support.installation import Installation

IN_OTHER_TESTS = {"setup", "mfa_edit_webauthn", "mfa_remove_webauthn", "account_reset_password_from_key"}
"""Checked by test_content_policy.py and test_accounts.py; here with tokens that have ended."""
WITH_PARAMETERS = {"batch-page", "generation", "shared", "account_confirm_email"} | IN_OTHER_TESTS
ACTIONS_AND_FILES = {
    *(
        "model-pull",
        "model-remove",
        "model-switch",
        "generation-share",
        "stack-share",
        "share-revoke",
        "api-key-revoke",
        "session-end",
    ),
    *(
        "shared-image",
        "shared-preview",
        "shared-source",
        "hidden-image",
        "named-image",
        "public-image",
        "fooocus-task",
        "mcp-upload",
    ),
}


def test_pages_of_an_administrator(
    browser: Browser, administered_site: Installation, administrator: StorageState, screen: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=administered_site.url, storage_state=administrator, **screen)
    for page in watched_page(context):
        found = {}
        for path in paths():
            if path != "/accounts/logout/" and opens(page, path):
                found[path] = violations(page)
        assert len(found) > 8
        assert {path: rules for path, rules in found.items() if rules} == {}


def test_pages_of_a_visitor(browser: Browser, administered_site: Installation, screen: dict[str, Any]) -> None:
    for page in watched_page(browser.new_context(base_url=administered_site.url, **screen)):
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
            press(page, tool)
            found[tool] = violations(page)
            if page.locator("#more-options-button").is_visible():
                page.locator("#more-options-button").click()
                found[f"options of {tool}"] = violations(page)
                page.keyboard.press("Escape")
        page.keyboard.press("?")
        found["keys"] = violations(page)
        page.get_by_role("button", name="Close").click()
        press(page, "Brush")
        generate(page)
        found["result"] = violations(page)
        page.goto("/history/")
        found["history"] = violations(page)
        page.goto(str(page.locator("a[href^='/generations/']").first.get_attribute("href")))
        found["generation"] = violations(page)
    assert {state: rules for state, rules in found.items() if rules} == {}


def test_every_route_with_parameters_is_known() -> None:
    """A new page with parameters in its URL has to be visited by a test, and then be named in WITH_PARAMETERS."""
    found = {name for route, name in named_routes(get_resolver().url_patterns) if "<" in route and name}
    assert found == WITH_PARAMETERS | ACTIONS_AND_FILES


def test_pages_with_parameters(
    browser: Browser,
    administered_site: Installation,
    administrator: StorageState,
    screen: dict[str, Any],
    photo: Pixels,
) -> None:
    context = browser.new_context(base_url=administered_site.url, storage_state=administrator, **screen)
    for page in watched_page(context):
        found = {}
        page.goto("/history/")
        headers = {"X-CSRFToken": page.request.get("/session/").json()["csrf_token"]}
        image, mask = (
            f"data:image/png;base64,{base64.b64encode(png(each)).decode()}" for each in (photo, 255 - white_square())
        )
        made = page.request.post(
            "/api/batches/", data={"images": [image, "broken"], "masks": [mask], "prompt": ""}, headers=headers
        )
        assert made.ok, made.text()
        page.goto(f"/batches/{made.json()['id']}/")
        found["batch-page"] = violations(page)
        expect(page.locator("#batch-progress")).to_be_hidden()
        found["batch-page, done"] = violations(page)
        page.locator("#batch-items a[href]").first.click()
        page.get_by_role("button", name="Create a link").click()
        link = page.locator(".share-link code").inner_text()
        found["generation"] = violations(page)
        page.goto(link)
        found["shared"] = violations(page)
        for path in (
            "/shared/none/",
            "/accounts/confirm-email/none/",
            "/accounts/password/reset/key/1-none/",
            "/none/",
        ):
            page.goto(path)
            expect(page.locator("h1")).to_be_visible()
            found[path] = violations(page)
        assert {state: rules for state, rules in found.items() if rules} == {}
