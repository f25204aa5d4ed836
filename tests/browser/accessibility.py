"""The rules of WCAG 2.2 AA and of good practice that a page in its present state breaks, by axe-core."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},  # success criterion 2.5.3, experimental in axe
    "resultTypes": ["violations"],
    "preload": False,  # axe copies imported style sheets into inline styles, which the policy of the page refuses
}
SCREENS: dict[str, dict[str, Any]] = {
    "desktop-light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True},
    "desktop-dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone-light": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}
IN_EVERY_RUN = {"desktop-light", "phone-dark"}


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    is_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    reflow = ["reflow: the page scrolls sideways"] if is_wide else []  # success criterion 1.4.10, which axe leaves out
    return reflow + [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
