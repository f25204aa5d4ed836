"""Take the screenshots of the documentation: `python -m tests.browser.screenshots docs/screenshots`.

Each page and state of the editor, light and dark, on a new installation without models.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS, PASSWORD, PATIENCE_MS, chromium_path
from tests.installation import ROOT, Installation

PHOTO = ROOT / "static/img/sample.jpg"
OBJECT = ((0.5, 0.36), (0.5, 0.94))
"""The ends of the rocket in that photo, as parts of its width and height."""
EMAIL = "ada@example.org"
SIZE: ViewportSize = {"width": 1280, "height": 860}
PAGES = {
    "history": "/history/",
    "account": "/account/",
    "two-factor": "/accounts/2fa/",
    "sessions": "/accounts/sessions/",
    "api-keys": "/keys/",
    "storage": "/storage/",
    "models": "/models/",
    "dashboard": "/admin/",
    "review": "/admin/inpainting/generation/",
    "not-found": "/no-such-page/",
}


class Album:
    """Screenshots of one colour scheme, as WebP files `<name>-<scheme>.webp`."""

    def __init__(self, page: Page, folder: Path, scheme: str) -> None:
        self.page, self.folder, self.scheme = page, folder, scheme

    def take(self, name: str) -> None:
        self.page.wait_for_timeout(700)  # for pictures and transitions
        image = Image.open(io.BytesIO(self.page.screenshot()))
        image.convert("RGB").save(self.folder / f"{name}-{self.scheme}.webp", quality=82, method=6)

    def take_all(self) -> None:
        page = self.page
        page.goto("/")
        self.take("first-page")
        page.goto("/accounts/login/")
        self.take("sign-in")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_selector("#editor[data-ready]")
        if page.locator("#editor").get_attribute("data-state") == "empty":
            self.take("editor-empty")
        page.set_input_files("#photo-input", PHOTO)
        expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
        self.paint()
        self.take("editor-mask")
        page.locator("#more > summary").click()
        self.take("editor-settings")
        page.locator("#more-close").click()
        page.locator("#generate").click()
        expect(page.locator("#result")).to_be_visible()
        self.take("editor-result")
        page.locator("#compare-divider").click()
        self.take("editor-compare")
        for name, path in PAGES.items():
            page.goto(path)
            self.take(name)
        page.goto("/history/")
        page.locator("a[href^='/generations/']").first.click()
        self.take("generation")

    def paint(self) -> None:
        """Three strokes along the object."""
        box = self.page.locator("#in-place").bounding_box()
        assert box is not None
        (x, top), (_, bottom) = OBJECT
        for shift in (-0.012, 0.0, 0.012):
            across = box["x"] + box["width"] * (x + shift)
            self.page.mouse.move(across, box["y"] + box["height"] * top)
            self.page.mouse.down()
            self.page.mouse.move(across, box["y"] + box["height"] * bottom, steps=12)
            self.page.mouse.up()


def take_screenshots(browser: Browser, site: Installation, folder: Path) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    for scheme in ("light", "dark"):
        context = browser.new_context(base_url=site.url, viewport=SIZE, color_scheme=scheme)
        context.set_default_timeout(PATIENCE_MS)
        Album(context.new_page(), folder, scheme).take_all()
        context.close()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        site = Installation(Path(data), DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        site.migrate()
        site.manage("createsuperuser", "--noinput", "--email", EMAIL)
        path = chromium_path(Path(playwright.chromium.executable_path))
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        with site.serving():
            take_screenshots(browser, site, folder)
        browser.close()


if __name__ == "__main__":
    main()
