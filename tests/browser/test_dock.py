"""The dock at each width: nothing outside the screen, nothing over something else, the photo free above it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.dock import SIZES, covered_by_the_dock, resize
from tests.browser.editor_page import Pixels, choose_task, more_settings, open_photo, paint_line, start, written
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

FAULTS = """() => {
    const dock = ".dock :is(button, a, summary, textarea), .dock input[type=range], .zoom button"
    const shown = [...document.querySelectorAll(dock)]
        .filter((element) => element.checkVisibility() && !element.closest("#more .panel, .visually-hidden"))
    const controls = shown.map((element) =>
        ({ name: element.id || element.dataset.command, box: element.getBoundingClientRect() }))
    const isOutside = ({ box }) => box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight
    const meets = (one, other) => Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2
        && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 2
    const over = controls.flatMap((one, index) => controls.slice(index + 1)
        .filter(({ box }) => meets(one.box, box)).map((other) => `${one.name} over ${other.name}`))
    return { outside: controls.filter(isOutside).map(({ name }) => name), over, counted: controls.length > 3 }
}"""
NO_FAULTS = {"outside": [], "over": [], "counted": True}


@pytest.fixture(params=["mouse", "touch"])
def page(request: pytest.FixtureRequest, browser: Browser, site: Installation) -> Iterator[Page]:
    yield from watched_page(browser.new_context(base_url=site.url, has_touch=request.param == "touch"))


def test_the_dock_fits_at_each_width(page: Page, photo_file: Path) -> None:
    sign_up(page)
    open_photo(page, photo_file)
    faults: dict[str, Any] = {}

    def look(state: str) -> None:
        for width, height in SIZES:
            resize(page, width, height)
            if (found := page.evaluate(FAULTS)) != NO_FAULTS:
                faults[f"{state} at {width}"] = found

    look("brush")
    for key, tool in (("p", "polygon"), ("a", "object"), ("f", "frame")):
        page.keyboard.press(key)
        look(tool)
    resize(page, 1280, 744)
    choose_task(page, "Replace")
    look("replace")
    resize(page, 1280, 744)
    choose_task(page, "Enlarge")
    look("enlarge")
    resize(page, 1280, 744)
    choose_task(page, "Remove")
    paint_line(page, from_left=0.48, to_left=0.52)
    start(page)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    look("result")
    page.get_by_role("button", name="Back", exact=True).click()
    more_settings(page)
    for width in (1024, 1280, 1440):
        resize(page, width, 744)
        if (found := page.evaluate(FAULTS)) != NO_FAULTS:
            faults[f"settings at {width}"] = found
    assert faults == {}


def test_the_dock_never_covers_the_photo(page: Page, photo: Pixels, tmp_path: Path) -> None:
    sign_up(page)
    open_photo(page, written(photo[:, 64:192], tmp_path / "tall.png"))
    covered = {}
    for task in ("Remove", "Replace", "Extend", "Enlarge"):
        choose_task(page, task)
        covered[task] = covered_by_the_dock(page)
    choose_task(page, "Remove")
    paint_line(page, from_left=0.45, to_left=0.55)
    start(page)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    covered["result"] = covered_by_the_dock(page)
    assert {state: widths for state, widths in covered.items() if widths} == {}


def test_a_menu_opens_at_its_button(page: Page, photo_file: Path) -> None:
    sign_up(page)
    open_photo(page, photo_file)
    open_at_their_buttons(page, {"#mask-menu-button": "#mask-menu", "#more-options-button": "#more-options"})
    paint_line(page, from_left=0.45, to_left=0.55)
    start(page)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    menus = {"[popovertarget=download-menu]": "#download-menu", "[popovertarget=result-info]": "#result-info"}
    open_at_their_buttons(page, menus)


def open_at_their_buttons(page: Page, menus: dict[str, str]) -> None:
    """Each menu is above its button, in one line with it, and within the screen."""
    for width, height in SIZES:
        resize(page, width, height)
        for button, menu in menus.items():
            page.locator(button).click()
            at, shown = page.locator(button).bounding_box(), page.locator(menu).bounding_box()
            assert at
            assert shown
            middle, right = at["x"] + at["width"] / 2, shown["x"] + shown["width"]
            assert 0 <= shown["x"] <= middle <= right <= width, (width, menu)
            assert 0 <= shown["y"] < shown["y"] + shown["height"] <= at["y"] + 1, (width, menu)
            page.keyboard.press("Escape")
