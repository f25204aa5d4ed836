"""What holds for every page: its weight, its layout on a wide screen, and room for long names from either side."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, StorageState, ViewportSize, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import confirm, sign_up, watched_page
from tests.browser.devices import DEVICES
from tests.browser.editor_page import Pixels, generate, open_photo, paint_line, written
from tests.browser.painting import paint
from tests.browser.routes import opens, paths
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

REVIEW = "/admin/inpainting/generation/"
OF_THE_ADMIN = ("/admin/", "/admin/usage/", "/admin/workers/", REVIEW)
MAX_BYTES = 200_000
PHONE: ViewportSize = {"width": 390, "height": 844}
WIDE: ViewportSize = {"width": 2560, "height": 1440}
LONGEST_LINE_EM = 50  # about 100 characters
MOST_PIXELS_AWAY = 120
LONG = "Ein-Dateiname-ohne-jedes-Leerzeichen-" * 5
ARABIC = "\u0642\u0637\u0629"
HEBREW = "שלום עולם, זו תמונה של כלב בפארק"
INDENT = """(card) => {
    const text = document.createRange()
    text.selectNodeContents(card.querySelector(".card-title"))
    return text.getBoundingClientRect().left - card.querySelector("time").getBoundingClientRect().left
}"""
"""How far to the right of the date the title of a card begins, in pixels."""
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


WEIGHT = """() => ["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type))
    .filter(({ name }) => !/\\.(svg|png|jpe?g|webp)$|\\/pictures\\//.test(new URL(name).pathname))
    .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""
"""The bytes of the page, its scripts and its style sheets, as they were sent; without those of workers."""
LONG_LINES = """
(most) => {
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT)
    const found = []
    while (walker.nextNode()) {
        const text = walker.currentNode
        const element = text.parentElement
        const range = document.createRange()
        range.selectNodeContents(text)
        const widest = Math.max(0, ...[...range.getClientRects()].map(({ width }) => width))
        const isProse = element.checkVisibility() && !element.closest("pre, code, .visually-hidden")
        if (isProse && widest > most * parseFloat(getComputedStyle(element).fontSize)) found.push(text.data)
    }
    return found
}
"""
"""The texts with a line of more than so many em."""
GAPS = """
(names) => {
    const photo = document.getElementById("in-place").getBoundingClientRect()
    return names.map((name) => {
        const box = document.querySelector(name).getBoundingClientRect()
        const across = Math.max(0, box.left - photo.right, photo.left - box.right)
        const down = Math.max(0, box.top - photo.bottom, photo.top - box.bottom)
        return Math.round(Math.hypot(across, down))
    })
}
"""
"""The pixels between the photo and each of these elements."""


@pytest.fixture(scope="module")
def site(administered_site: Installation) -> Installation:
    return administered_site


@pytest.mark.parametrize("is_signed_in", [False, True])
def test_every_page_is_light_and_readable_on_a_wide_screen(
    browser: Browser, site: Installation, administrator: StorageState, is_signed_in: bool
) -> None:
    """At most 200 kilobytes without its images, nothing that scrolls sideways, and no line too long to read."""
    state = administrator if is_signed_in else None
    weights, widths, lines = {}, {}, {}
    for page in watched_page(browser.new_context(base_url=site.url, storage_state=state, viewport=WIDE)):
        for path in (*paths(), *OF_THE_ADMIN) if is_signed_in else paths():
            if path == "/accounts/logout/" or not opens(page, path):
                continue
            weights[path] = page.evaluate(WEIGHT)
            widths[path] = page.evaluate("document.documentElement.scrollWidth")
            lines[path] = page.evaluate(LONG_LINES, LONGEST_LINE_EM)
    assert len(weights) > 8
    assert min(weights.values()) > 10_000
    assert {path: weight for path, weight in weights.items() if weight > MAX_BYTES} == {}
    assert widths == dict.fromkeys(widths, WIDE["width"])
    assert {path: found for path, found in lines.items() if found} == {}


def test_the_editor_is_light_and_its_controls_lie_near_the_photo(
    browser: Browser, site: Installation, photo_file: Path
) -> None:
    first_visit = browser.new_context(base_url=site.url)
    sign_up(first_visit.new_page())  # without an earlier draft, whose images would count
    context = browser.new_context(base_url=site.url, storage_state=first_visit.storage_state(), viewport=WIDE)
    first_visit.close()
    for page in watched_page(context):
        requests: list[Request] = []

        def keep(request: Request, found: list[Request] = requests) -> None:
            found.append(request)

        page.on("requestfinished", keep)
        page.goto("/", wait_until="networkidle")  # with an empty cache
        weight = sum(request.sizes()["responseBodySize"] for request in requests if request.resource_type != "image")
        assert 100_000 < weight <= MAX_BYTES, "with the scripts of the worker"
        open_photo(page, photo_file)
        paint_line(page, from_left=0.4, to_left=0.6)
        names = [".photo-bar", "#zoom", "#settings"]
        gaps = page.evaluate(GAPS, names)
        generate(page)
        gaps += page.evaluate(GAPS, [*names, "#filmstrip"])
        assert max(gaps) <= MOST_PIXELS_AWAY, gaps


@pytest.mark.full
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_every_page_is_light_and_fits_a_phone_from_either_side(
    browser: Browser, site: Installation, administrator: StorageState, direction: str
) -> None:
    context = DEVICES["phone"].context(browser, base_url=site.url, storage_state=administrator)
    weights, widths = {}, {}
    for page in watched_page(context):
        for path in (*paths(), *OF_THE_ADMIN):
            if path == "/accounts/logout/" or not opens(page, path):
                continue
            page.evaluate("(direction) => { document.documentElement.dir = direction }", direction)
            weights[path] = page.evaluate(WEIGHT)
            widths[path] = page.evaluate("document.documentElement.scrollWidth")
    assert len(weights) > 8
    assert {path: weight for path, weight in weights.items() if weight > MAX_BYTES} == {}
    assert widths == dict.fromkeys(widths, PHONE["width"])


def test_long_names_and_text_from_right_to_left_have_room_on_a_phone(
    browser: Browser, site: Installation, administrator: StorageState, photo: Pixels, tmp_path: Path
) -> None:
    context = browser.new_context(base_url=site.url, storage_state=administrator, viewport=PHONE)
    for page in watched_page(context):
        page.goto("/history/")
        (long,) = paint(page, 1, name=LONG)
        paint(page, 1, name=ARABIC)
        (pk,) = paint(page, 1, prompt=HEBREW)
        page.reload()
        titles = page.locator(".card-title")
        expect(titles.filter(has_text=ARABIC).first).to_have_css("direction", "rtl")
        expect(titles.filter(has_text=LONG[:30]).first).to_have_css("direction", "ltr")
        assert page.locator(".card", has_text=ARABIC).first.evaluate(INDENT) < 1
        found = {"history": violations(page)}
        page.goto(f"/generations/{long}/")
        expect(page.locator("h1")).to_contain_text(LONG[:60])
        found["generation"] = violations(page)
        assert {name: rules for name, rules in found.items() if rules} == {}
        page.goto("/")
        for name, direction in ((LONG, "ltr"), (HEBREW, "rtl")):
            open_photo(page, written(photo, tmp_path / f"{name}.png"))
            shown = page.locator("#photo-name")
            expect(shown).to_have_text(f"{name}.png")
            expect(shown).to_have_css("direction", direction)
            assert violations(page) == []
            box = shown.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
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
