"""Pages in a language of long words and in one from right to left: all fits, the editor paints where the pointer is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.conftest import empty_draft, watched_page
from tests.browser.devices import Device, drag, place_on
from tests.browser.editor_page import SIDE, Pixels, downloaded, is_red, open_photo, stored_mask
from tests.browser.overflow import overflow
from tests.browser.painting import paint
from tests.browser.routes import opens, paths
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

GERMAN, ARABIC = "de", "ar"
SMALLEST_PHONE, DESKTOP = Device(360, 780, "touch"), Device(1280, 860, "mouse")
REVIEW = "/admin/inpainting/generation/"
OF_THE_ADMIN = (
    "/admin/",
    "/admin/usage/",
    "/admin/workers/",
    "/admin/accounts/user/",
    "/admin/accounts/auditentry/",
    REVIEW,
)
LONG = "Ein-Dateiname-ohne-jedes-Leerzeichen-" * 3
IN_EVERY_RUN = pytest.param(GERMAN, SMALLEST_PHONE, id="de-phone", marks=pytest.mark.smoke)
FURTHER = [
    pytest.param(language, screen, id=f"{language}-{name}", marks=pytest.mark.full)
    for language, screen, name in (
        (GERMAN, DESKTOP, "desktop"),
        (GERMAN, Device(768, 1024, "touch"), "tablet"),
        (ARABIC, SMALLEST_PHONE, "phone"),
        (ARABIC, DESKTOP, "desktop"),
    )
]
ON_EVERY_SCREEN = pytest.mark.parametrize(("language", "screen"), [IN_EVERY_RUN, *FURTHER])
MENUS = ("#mask-menu-button", "#more-options-button", "#more-tools-button", "#tasks-button", "#steps-button")


@pytest.fixture(scope="module")
def site(administered_site: Installation) -> Installation:
    return administered_site


def translated_page(
    browser: Browser, site: Installation, state: StorageState | None, language: str, screen: Device
) -> Iterator[Page]:
    """A page of somebody who chose a language. `watched_page` watches it."""
    context = screen.context(browser, base_url=site.url, storage_state=state)
    context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    yield from watched_page(context)


@pytest.mark.full
@ON_EVERY_SCREEN
def test_every_page_fits(
    browser: Browser, site: Installation, administrator: StorageState, language: str, screen: Device
) -> None:
    found = {}
    for state in (None, administrator):
        for page in translated_page(browser, site, state, language, screen):
            further: tuple[str, ...] = ()
            if state:
                page.goto("/history/")
                (pk,) = paint(page, 1, name=LONG)
                further = (*OF_THE_ADMIN, f"/generations/{pk}/", f"{REVIEW}{pk}/change/")
            for path in (*paths(), *further):
                if path == "/accounts/logout/" or not opens(page, path):
                    continue
                html = page.locator("html")
                expect(html).to_have_attribute("lang", language)
                assert html.evaluate("html => getComputedStyle(html).direction") == (
                    "rtl" if language == ARABIC else "ltr"
                )
                found[path, bool(state)] = overflow(page)
    assert len(found) > 20
    assert {path: texts for path, texts in found.items() if texts} == {}


@ON_EVERY_SCREEN
def test_every_state_of_the_editor_fits(
    browser: Browser,
    site: Installation,
    signed_up: StorageState,
    language: str,
    screen: Device,
    photo_file: Path,
) -> None:
    found = {}
    for page in translated_page(browser, site, signed_up, language, screen):
        empty_draft(page)
        page.goto("/")
        open_photo(page, photo_file)
        drag(page, "#in-place", (0.4, 0.5), (0.6, 0.5))
        expect(page.locator("#generate")).to_be_enabled()
        found["a mask"] = overflow(page)
        for menu in MENUS:
            if page.locator(menu).is_visible():
                page.locator(menu).click()
                found[menu] = overflow(page)
                page.keyboard.press("Escape")
        page.locator("#more > summary").click()
        page.locator("#advanced > summary").click()
        found["settings"] = overflow(page)
        page.locator("#more-close").click()
        page.locator("#generate").click()
        expect(page.locator("#result")).to_be_visible()
        expect(page.locator("#use-result")).to_be_visible()
        found["a result"] = overflow(page)
        page.locator("#use-result").click()
        expect(page.locator("#generate")).to_be_visible()
        found["the next step"] = overflow(page)
    assert {state: texts for state, texts in found.items() if texts} == {}


@pytest.mark.smoke
@pytest.mark.parametrize(
    "screen", [pytest.param(DESKTOP, id="desktop"), pytest.param(SMALLEST_PHONE, id="phone", marks=pytest.mark.full)]
)
def test_in_arabic_the_editor_paints_where_the_pointer_is_and_compares_from_the_left(
    browser: Browser, site: Installation, signed_up: StorageState, screen: Device, photo: Pixels, photo_file: Path
) -> None:
    for page in translated_page(browser, site, signed_up, ARABIC, screen):
        empty_draft(page)
        page.goto("/")
        open_photo(page, photo_file)
        drag(page, "#in-place", (0.2, 0.3), (0.3, 0.3))
        assert is_red(page, 0.25, 0.3)
        assert not is_red(page, 0.75, 0.3)
        page.locator("#generate").click()
        expect(page.locator("#figure-outside")).to_have_text("0")
        mask = stored_mask(page)
        height, width = mask.shape
        assert mask[int(0.3 * height), int(0.25 * width)] == 255
        assert not mask[:, width // 2 :].any()
        result = downloaded(page)
        assert np.array_equal(result[mask == 0], photo[mask == 0])
        assert not np.array_equal(result[mask > 0], photo[mask > 0])

        page.locator("#compare-divider").click()
        divider = page.locator("#divider")
        from_left = float(divider.get_attribute("aria-valuenow") or 0)
        assert 15 < from_left < 35, "it begins at the hole"
        drag(page, "#divider", (0.5, 0.2), (3, 0.2))
        assert float(divider.get_attribute("aria-valuenow") or 0) > from_left
        x, _ = place_on(page, "#divider", (0.5, 0))
        cut = page.locator("#result-image").evaluate(
            "image => parseFloat(getComputedStyle(image).clipPath.split(' ').at(-1))"
        )
        left, _ = place_on(page, "#in-place", (0, 0))
        assert abs(left + cut - x) < 2, "the result is at the right of it"


def test_in_arabic_the_photo_is_compared_where_it_lies_in_its_extension(
    browser: Browser, site: Installation, signed_up: StorageState, photo_file: Path
) -> None:
    for page in translated_page(browser, site, signed_up, ARABIC, DESKTOP):
        empty_draft(page)
        page.goto("/")
        open_photo(page, photo_file)
        page.locator("#tasks label:has([value=extend])").click()
        page.locator("#more-options-button").click()
        page.locator("[data-side=right]").fill("64")
        page.locator("[data-side=right]").press("Enter")
        expect(page.locator("#generate-hint")).to_contain_text(f"\u2066{SIDE + 64} × {SIDE}\u2069")
        page.keyboard.press("Escape")
        page.locator("#generate").click()
        expect(page.locator("#figure-outside")).to_have_text("0")
        before, after = (page.locator(f"#result-{image}").bounding_box() for image in ("source", "image"))
        assert before
        assert after
        assert before["x"] == pytest.approx(after["x"], abs=1)
        assert before["width"] == pytest.approx(after["width"] * SIDE / (SIDE + 64), abs=1)
