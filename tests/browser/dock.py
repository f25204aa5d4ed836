"""The dock at the sizes of screens."""

from __future__ import annotations

from playwright.sync_api import Page, TimeoutError

SIZES = [(320, 640), (360, 640), (390, 844), (768, 1024), (820, 1180), (834, 1194), (844, 390), (1024, 744)]
SIZES += [(1280, 744), (1440, 900), (2560, 1440)]
"""CSS pixels of screens."""
IS_FREE = """() => document.querySelector("#in-place").getBoundingClientRect().bottom
    <= document.querySelector("#settings").getBoundingClientRect().top"""
MS_TO_FIT = 5_000
"""The photo is fitted in the frames after the dock has changed."""


def resize(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def covered_by_the_dock(page: Page) -> list[int]:
    """The widths at which the dock lies over the photo."""
    covered = []
    for width, height in SIZES:
        resize(page, width, height)
        try:
            page.wait_for_function(IS_FREE, timeout=MS_TO_FIT)
        except TimeoutError:
            covered.append(width)
    resize(page, 1280, 744)
    return covered
