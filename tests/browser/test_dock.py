"""The dock at each width: nothing outside the screen, nothing over something else, the photo free above it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.editor_page import choose_task, more_settings, open_photo, paint_line, start
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

SIZES = [(320, 640), (360, 640), (390, 844), (768, 1024), (820, 1180), (834, 1194), (844, 390), (1024, 744)]
SIZES += [(1280, 744), (1440, 900), (2560, 1440)]
"""CSS pixels of screens."""
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
ABOVE_DOCK = """() => [document.querySelector("#in-place").getBoundingClientRect().bottom,
    document.querySelector("#settings").getBoundingClientRect().top]"""


@pytest.fixture(params=["mouse", "touch"])
def page(request: pytest.FixtureRequest, browser: Browser, site: Installation) -> Iterator[Page]:
    yield from watched_page(browser.new_context(base_url=site.url, has_touch=request.param == "touch"))


def resize(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def test_the_dock_fits_at_each_width(page: Page, photo_file: Path) -> None:
    sign_up(page)
    open_photo(page, photo_file)
    faults: dict[str, Any] = {}

    def look(state: str) -> None:
        for width, height in SIZES:
            resize(page, width, height)
            if (found := page.evaluate(FAULTS)) != NO_FAULTS:
                faults[f"{state} at {width}"] = found

    def the_photo_is_free(task: str) -> None:
        for width, height in SIZES:
            resize(page, width, height)
            photo_bottom, dock_top = page.evaluate(ABOVE_DOCK)
            assert photo_bottom <= dock_top, f"the dock covers the photo at {width}: {task}"

    the_photo_is_free("Remove")
    look("brush")
    for key, tool in (("p", "polygon"), ("a", "object"), ("f", "frame")):
        page.keyboard.press(key)
        look(tool)
    resize(page, 1280, 744)
    choose_task(page, "Replace")
    look("replace")
    resize(page, 1280, 744)
    choose_task(page, "Enlarge")
    the_photo_is_free("Enlarge")
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


def test_a_menu_opens_at_its_button(page: Page, photo_file: Path) -> None:
    sign_up(page)
    open_photo(page, photo_file)
    for width, height in SIZES:
        resize(page, width, height)
        for button, menu in (("#mask-menu-button", "#mask-menu"), ("#more-options-button", "#more-options")):
            page.locator(button).click()
            at, shown = page.locator(button).bounding_box(), page.locator(menu).bounding_box()
            assert at
            assert shown
            middle, right = at["x"] + at["width"] / 2, shown["x"] + shown["width"]
            assert 0 <= shown["x"] <= middle <= right <= width, (width, menu)
            assert 0 <= shown["y"] < shown["y"] + shown["height"] <= at["y"] + 1, (width, menu)
            page.keyboard.press("Escape")
