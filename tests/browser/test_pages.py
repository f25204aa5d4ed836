"""What holds for every page: its weight, and room for long names and for text from right to left."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Request, StorageState, ViewportSize

from tests.browser.conftest import confirm, watched_page
from tests.browser.painting import paint
from tests.installation import Installation

pytestmark = pytest.mark.browser

REVIEW = "/admin/inpainting/generation/"
PAGES = ("/", "/history/", "/account/", "/keys/", "/batches/", "/models/", "/admin/", REVIEW)
MAX_BYTES = 200_000
PHONE: ViewportSize = {"width": 390, "height": 844}
LONG = "Ein-Dateiname-ohne-jedes-Leerzeichen-" * 5
HEBREW = "שלום עולם, זו תמונה של כלב בפארק"
DIRECTIONS = """
(text) => {
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT)
    const found = []
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement
        const isShown = element.checkVisibility() && !element.matches(".visually-hidden")
        if (walker.currentNode.data.includes(text) && isShown) found.push(element)
    }
    return found.map((element) => getComputedStyle(element).direction)
}
"""
"""The directions of the visible elements with that text."""


@pytest.fixture(scope="module")
def site(administered_site: Installation) -> Installation:
    return administered_site


@pytest.mark.parametrize("is_signed_in", [False, True])
def test_no_page_has_200_kilobytes_without_its_pictures(
    browser: Browser, site: Installation, administrator: StorageState, is_signed_in: bool
) -> None:
    weights: dict[str, int] = {}
    for path in PAGES if is_signed_in else ("/", "/accounts/login/"):
        requests: list[Request] = []
        state = administrator if is_signed_in else None
        for page in watched_page(browser.new_context(base_url=site.url, storage_state=state)):  # with an empty cache

            def keep(request: Request, found: list[Request] = requests) -> None:
                found.append(request)

            page.on("requestfinished", keep)
            page.goto(path, wait_until="networkidle")
            weights[path] = sum(one.sizes()["responseBodySize"] for one in requests if one.resource_type != "image")
    assert min(weights.values()) > 10_000
    assert max(weights.values()) <= MAX_BYTES, weights


def test_long_names_and_text_from_right_to_left_have_room_on_a_phone(
    browser: Browser, site: Installation, administrator: StorageState
) -> None:
    context = browser.new_context(base_url=site.url, storage_state=administrator, viewport=PHONE)
    for page in watched_page(context):
        page.goto("/history/")
        paint(page, 1, name=LONG)
        (pk,) = paint(page, 1, prompt=HEBREW)
        page.goto("/keys/")
        page.get_by_label("Name").fill(HEBREW)
        page.get_by_role("button", name="Make key").click()
        confirm(page)
        page.get_by_label("Name").fill(LONG[:100])
        page.get_by_role("button", name="Make key").click()
        widths, directions = {}, {}
        for path in ("/keys/", "/history/", f"/generations/{pk}/", REVIEW, f"{REVIEW}{pk}/change/"):
            page.goto(path)
            widths[path] = page.evaluate("document.documentElement.scrollWidth")
            directions[path] = set(page.evaluate(DIRECTIONS, HEBREW))
        assert widths == dict.fromkeys(widths, PHONE["width"])
        assert directions == {path: {"rtl"} for path in directions}
