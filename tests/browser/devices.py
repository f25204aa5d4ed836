"""The devices of the tests: a desktop with a mouse, a phone with fingers, a tablet with a pen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page

from tests.browser.touch import Place, Touch

Pointer = Literal["mouse", "touch", "pen"]
Point = tuple[float, float]
"""Shares of an element's width and height; outside of 0 to 1 beside it."""
STEPS = 6
WITH_PEN = "window.testedWithPen = true"


@dataclass(frozen=True)
class Device:
    """`width` and `height` of the screen in CSS pixels; `pointer`: what paints."""

    width: int
    height: int
    pointer: Pointer

    @property
    def options(self) -> dict[str, Any]:
        """Of a browser context."""
        size = {"viewport": {"width": self.width, "height": self.height}}
        return size if self.pointer == "mouse" else {**size, "has_touch": True, "is_mobile": True}

    def context(self, browser: Browser, **options: Any) -> BrowserContext:
        context = browser.new_context(**{**self.options, **options})
        if self.pointer == "pen":
            context.add_init_script(WITH_PEN)
        return context


DEVICES = {
    "desktop": Device(1280, 900, "mouse"),
    "phone": Device(390, 844, "touch"),
    "tablet": Device(1024, 768, "pen"),
}
_FURTHER = [pytest.param(name, marks=pytest.mark.full) for name in ("phone", "tablet")]
ON_EVERY_DEVICE = pytest.mark.parametrize("device", ["desktop", *_FURTHER], indirect=True)
"""For tests that point at the photo: the fixture `device`, and with it those that open a page, are each of them."""
ON_A_PHONE_TOO = pytest.mark.parametrize("device", ["desktop", _FURTHER[0]], indirect=True)


def pointer_of(page: Page) -> Pointer:
    """What paints on this page."""
    pointer: Pointer = page.evaluate("window.testedWithPen ? 'pen' : navigator.maxTouchPoints ? 'touch' : 'mouse'")
    return pointer


def drag(page: Page, selector: str, *points: Point) -> None:
    """Drag the pointer of the page's device over these points of an element."""
    drag_over(page, *(place_on(page, selector, point) for point in points))


def drag_over(page: Page, *places: Place) -> None:
    """Drag the pointer of the page's device over these places of the page."""
    pointer = pointer_of(page)
    if pointer == "touch":
        return Touch(page).drag(*places, steps=STEPS)
    if pointer == "pen":
        return Touch(page).pen(*places)
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=STEPS)
    page.mouse.up()


def point_at(page: Page, selector: str, point: Point) -> None:
    """Click, tap, or touch with the pen at this point of an element."""
    place = place_on(page, selector, point)
    pointer = pointer_of(page)
    if pointer == "touch":
        page.touchscreen.tap(*place)
    elif pointer == "pen":
        Touch(page).pen(place)
    else:
        page.mouse.click(*place)


def place_on(page: Page, selector: str, point: Point) -> Place:
    """This point of an element, in CSS pixels of the page."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] * point[0], box["y"] + box["height"] * point[1]


def press(page: Page, name: str) -> None:
    """Click or tap a button, after the popover that it is in on a narrow screen is opened."""
    button = page.get_by_role("button", name=name, exact=True)
    if not button.count():
        reveal(page, page.get_by_role("button", name=name, exact=True, include_hidden=True))
    if pointer_of(page) == "mouse":
        button.click()
    else:
        button.tap()


def reveal(page: Page, element: Locator) -> Locator:
    """Open the popover that an element is in, where it is hidden in one."""
    popover = element.last.evaluate("element => element.closest('[popover]:not(:popover-open)')?.id")
    if popover and not element.last.is_visible():
        page.locator(f"[popovertarget={popover}]").click()
    return element
