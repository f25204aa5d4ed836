"""Take the screenshots of the documentation: `python -m tests.browser.screenshots docs/screenshots`.

Each page and state of the editor, light and dark, each time on a new installation without models; the main ones on a
phone too. What is empty at first is taken before it is filled.
"""

from __future__ import annotations

import base64
import hmac
import io
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from skimage import data

from tests.browser.conftest import CHROMIUM_FLAGS, PASSWORD, PATIENCE_MS, chromium_path
from tests.browser.devices import drag
from tests.browser.editor_page import Pixels, drop, wait_on_a_fake_generation, written
from tests.support.installation import ROOT, Installation

PHOTO = ROOT / "static/img/sample.jpg"
ROCKET = ((0.5, 0.33), (0.5, 0.98))
"""A stroke along the rocket in that photo."""
EMAIL = "ada@example.org"
DESKTOP: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}
PHOTOS = {
    "Kaffee auf dem Tisch am Fenster, noch einmal ganz ohne den Löffel aufgenommen.png": (data.coffee, (0.7, 0.45)),
    "قطة.png": (data.cat, (0.2, 0.25)),
    "portrait.png": (data.astronaut, (0.85, 0.3)),
    "launch pad.png": (data.rocket, (0.7, 0.8)),
}
"""Photos of scikit-image, and where something is erased from them, in shares of width and height."""
IMAGES_ARE_LOADED = """() => [...document.images].every((image) => {
  const { top, bottom } = image.getBoundingClientRect()
  return image.complete || !image.checkVisibility() || bottom < 0 || top > innerHeight
})"""
"""Those that are visible; the others are read as one scrolls."""
EMPTY = {"history-empty": "/history/", "batches-empty": "/batches/", "storage-empty": "/storage/"}
EMPTY |= {"review-empty": "/admin/inpainting/generation/", "history-nothing-found": "/history/?text=nothing"}
PAGES = {
    "history": "/history/",
    "history-filter": "/history/?engine=quick-fill",
    "account": "/account/",
    "account-delete": "/account/delete/",
    "email": "/accounts/email/",
    "password-change": "/accounts/password/change/",
    "two-factor": "/accounts/2fa/",
    "passkeys": "/accounts/2fa/webauthn/",
    "sessions": "/accounts/sessions/",
    "storage": "/storage/",
    "models": "/models/",
    "dashboard": "/admin/",
    "usage": "/admin/usage/",
    "workers": "/admin/workers/",
    "review": "/admin/inpainting/generation/",
    "not-found": "/no-such-page/",
    "link-ended": "/shared/none/",
}
ON_PHONE = {"history": "/history/", "batches": "/batches/", "account": "/account/", "api-keys": "/keys/"}
ON_PHONE |= {"review": "/admin/inpainting/generation/", "dashboard": "/admin/"}


class Album:
    """Screenshots of one colour scheme, as WebP files `<name>-<scheme>.webp`."""

    def __init__(self, page: Page, site: Installation, folder: Path, scheme: str) -> None:
        self.page, self.site, self.folder, self.scheme = page, site, folder, scheme

    def take(self, name: str, path: str = "") -> None:
        """Open the path, if there is one, and take a screenshot."""
        if path:
            self.page.goto(path)
        self.page.wait_for_function(IMAGES_ARE_LOADED)
        self.page.wait_for_timeout(700)  # for transitions
        image = Image.open(io.BytesIO(self.page.screenshot()))
        image.convert("RGB").save(self.folder / f"{name}-{self.scheme}.webp", quality=82, method=6)

    def take_all(self) -> None:
        self.take_visit()
        self.take_set_up()
        for name, path in EMPTY.items():
            self.take(name, path)
        self.take_editor()
        self.fill()
        self.take_second_factor()  # confirms the password, which other pages ask for
        for name, path in PAGES.items():
            self.take(name, path)
        self.take_one_generation()
        self.take_keys()
        self.take_batches()
        self.take_on_phone()
        self.take_removed()
        self.take_sign_in()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def take_visit(self) -> None:
        page = self.page
        self.take("first-page", "/")
        drag(page, "#surface", *ROCKET)
        self.take("first-page-marked")
        self.press("Remove")
        expect(page.get_by_alt_text("The photo as painted")).to_be_visible()
        self.take("first-page-erased")
        page.set_input_files("#own-photo", PHOTO)
        page.wait_for_url("**/accounts/signup/**")
        self.take("sign-up")
        page.evaluate("import('pending_photo').then(({ take }) => take())")  # the editor is to be empty later

    def take_set_up(self) -> None:
        """Create the administrator by the link that the server printed."""
        page = self.page
        link = re.search(r"http://\S+(/setup/\S+)", self.site.log)
        assert link
        page.goto(link[1])
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password", exact=True).fill("short")
        page.get_by_label("Password (again)").fill("shorter")
        self.press("Create administrator")
        self.take("set-up-error")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Password (again)").fill(PASSWORD)
        self.press("Create administrator")
        page.wait_for_url("**/welcome/")
        self.take("welcome")

    def take_editor(self) -> None:
        page = self.page
        page.goto("/")
        page.wait_for_selector("#editor[data-ready]")
        self.take("editor-empty")
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder, "holiday.png")
            broken.write_bytes(b"no image")
            page.set_input_files("#photo-input", broken)
            expect(page.locator("#photo-message")).to_be_visible()
        self.take("editor-error")
        page.set_input_files("#photo-input", PHOTO)
        expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
        self.take("editor-photo")
        page.locator("#tool-size").fill("0")
        drag(page, "#in-place", (0.5, 0.5), (0.5, 0.5))
        expect(page.locator("#generate-hint")).to_contain_text("Was that all")
        self.take("editor-hint")
        self.press("Undo")
        page.locator("#tool-size").fill("800")
        drag(page, "#in-place", *ROCKET)
        self.take("editor-mask")
        page.locator("#more > summary").click()
        self.take("editor-settings")
        page.locator("#more-close").click()
        self.press("Extend the photo")
        page.locator("#more-options-button").click()
        page.get_by_label("Ratio").select_option("16:9")
        page.keyboard.press("Escape")
        self.press("Zoom out")
        self.take("editor-extend")
        self.press("Undo")
        self.press("Brush")
        self.press("Fit")
        page.keyboard.press("?")
        self.take("editor-keys")
        self.press("Close")
        self.take_painting()
        page.locator("#generate").click()
        expect(page.locator("#result")).to_be_visible()
        self.take("editor-result")
        page.locator("#compare-divider").click()
        self.take("editor-compare")
        self.take_signed_out()
        self.take_steps()

    def take_painting(self) -> None:
        """With answers in place of the server's, since a real painting is too short."""
        page = self.page
        state, sockets = wait_on_a_fake_generation(page)
        page.locator("#generate").click()
        expect(page.locator("#shimmer")).to_be_visible()
        while not sockets:
            page.wait_for_timeout(50)
        sockets[-1].send(json.dumps({"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 9}))
        self.take("editor-painting")
        state |= {"status": "failed", "error": {"code": "engine_failed", "message": "There is nothing to copy from."}}
        sockets[-1].send(json.dumps({"type": "failed"}))
        expect(page.locator("#generate-message")).to_be_visible()
        self.take("editor-failed")
        page.unroute_all()

    def take_signed_out(self) -> None:
        page = self.page
        cookies = page.context.cookies()
        page.context.clear_cookies(name="sessionid")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("dialog", name="You are signed out")).to_be_visible()
        self.take("editor-signed-out")
        page.context.add_cookies(cookies)  # type: ignore[arg-type]  # as they were read
        page.goto("/history/")

    def take_steps(self) -> None:
        """Keep the result that the draft shows again, as a step."""
        page = self.page
        page.goto("/")
        expect(page.locator("#result")).to_be_visible()
        self.press("Keep")
        page.locator("#steps-button").click()
        expect(page.locator("#steps-list li")).to_have_count(1)
        self.take("editor-steps")
        page.locator("#steps-share").click()
        expect(page.get_by_role("button", name="Create a link")).to_be_visible()
        self.take("share-steps")
        page.goto("/history/")

    def fill(self) -> None:
        """Erase something from each of the photos."""
        token = self.page.request.get("/session/").json()["csrf_token"]
        for name, (photo, place) in PHOTOS.items():
            files = {"image": (name, png(photo())), "mask": ("mask.png", png(mask_of(photo(), place)))}
            sent: dict[str, Any] = {
                field: {"name": name, "mimeType": "image/png", "buffer": body} for field, (name, body) in files.items()
            }
            answer = self.page.request.post(
                "/api/img2img", multipart={**sent, "prompt": ""}, headers={"X-CSRFToken": token}
            )
            assert answer.ok, answer.text()

    def take_batches(self) -> None:
        page = self.page
        page.goto("/batches/")
        page.wait_for_selector("#new-batch[data-ready]")
        with tempfile.TemporaryDirectory() as folder:
            photos = [(name, photo(), place) for name, (photo, place) in list(PHOTOS.items())[:3]]
            paths = [written(pixels, Path(folder, name)) for name, pixels, _ in photos]
            drop(page, "#new-batch", *paths)
            page.get_by_label("One for each photo").check()
            page.locator("#batch-submit").click()
            expect(page.locator("#batch-message")).to_be_visible()
            self.take("batches-error")
            masks = [
                written(255 - mask_of(pixels, place), Path(folder, f"{Path(name).stem}-mask.png"))
                for name, pixels, place in photos
            ]
            drop(page, "#new-batch", *masks)
            self.take("batches")
            page.locator("#batch-submit").click()
            page.wait_for_url("**/batches/*-*/")
            self.take("batch-progress")
        expect(page.locator("#batch-progress")).to_be_hidden(timeout=120_000)
        self.take("batch")

    def take_one_generation(self) -> None:
        page = self.page
        page.goto("/history/")
        page.locator(".card-select").first.click()
        self.take("history-selected")
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        self.take("history-deleted")
        self.press("Undo")
        page.goto("/history/")
        page.locator("a[href^='/generations/']").last.click()
        self.take("generation")
        self.press("Create a link")
        link = page.locator(".share-link code").text_content()
        page.locator(".share-link").scroll_into_view_if_needed()
        self.take("generation-shared")
        assert link
        self.take("shared", link)
        page.goto("/admin/inpainting/generation/")
        page.locator(".review-card a").first.click()
        self.take("review-one")
        page.get_by_label("Fine").check()
        page.get_by_role("button", name="Save").first.click()
        expect(page.locator(".message.success")).to_be_visible()
        self.take("audit-log", "/admin/accounts/auditentry/")

    def take_keys(self) -> None:
        self.take("api-keys-empty", "/keys/")
        self.page.get_by_label("Name").fill("photo script")
        self.press("Make key")
        self.take("api-keys")

    def take_second_factor(self) -> None:
        page = self.page
        self.take("confirm-password", "/accounts/2fa/totp/activate/")
        page.get_by_label("Password").fill(PASSWORD)
        self.press("Confirm")
        page.get_by_label("Authenticator code").fill("000000")
        self.press("Turn on")
        self.take("two-factor-app-error")
        page.get_by_text("Type the secret instead").click()
        page.get_by_label("Authenticator code").fill(code_of_app(page.locator("#authenticator_secret").inner_text()))
        self.press("Turn on")
        expect(page.locator("#recovery_codes li")).to_have_count(10)
        self.take("recovery-codes")

    def take_on_phone(self) -> None:
        page = self.page
        page.set_viewport_size(PHONE)
        for name, path in ON_PHONE.items():
            self.take(f"phone-{name}", path)
        page.goto("/history/")
        page.locator("a[href^='/generations/']").last.click()
        self.take("phone-generation")
        page.goto("/?sample")
        expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
        drag(page, "#in-place", *ROCKET)
        self.take("phone-editor-mask")
        page.locator("#generate").click()
        expect(page.locator("#result")).to_be_visible()
        page.locator("#compare-divider").click()
        self.take("phone-editor-compare")

    def take_removed(self) -> None:
        page = self.page
        page.set_viewport_size(DESKTOP)
        page.goto("/admin/inpainting/generation/")
        page.locator(".review-card a").first.click()
        pk = page.url.split("/")[-3]
        page.get_by_label("Removed").check()
        page.get_by_label("Note").fill("Copied from a catalogue without the photographer's permission.")
        page.get_by_role("button", name="Save").first.click()
        expect(page.locator(".message.success")).to_be_visible()
        self.take("generation-removed", f"/generations/{pk}/")

    def take_sign_in(self) -> None:
        page = self.page
        page.context.clear_cookies()
        page.set_viewport_size(PHONE)
        self.take("phone-first-page", "/")
        page.set_viewport_size(DESKTOP)
        page.goto("/accounts/login/")
        self.take("sign-in")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password").fill("not this")
        self.press("Sign in")
        self.take("sign-in-error")
        self.take("password-reset", "/accounts/password/reset/")
        self.take("password-reset-sent", "/accounts/password/reset/done/")


def code_of_app(secret: str) -> str:
    """The code that an authenticator app shows now (RFC 6238), without the settings that tests/accounts needs."""
    digest = hmac.digest(base64.b32decode(secret), (int(time.time()) // 30).to_bytes(8), "sha1")
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF) % 10**6:06}"


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask_of(photo: Pixels, place: tuple[float, float]) -> Pixels:
    """A mask for the API: black is repainted, a disc a quarter as high as the photo around the place."""
    height, width = photo.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(columns - place[0] * width, rows - place[1] * height)
    return np.where(distance < height / 8, 0, 255).astype(np.uint8)


def take_screenshots(browser: Browser, site: Installation, folder: Path, scheme: str) -> None:
    options = {"base_url": site.url, "viewport": DESKTOP, "color_scheme": scheme}
    context = browser.new_context(**options)  # type: ignore[arg-type]  # the scheme is "light" or "dark"
    context.set_default_timeout(PATIENCE_MS)
    Album(context.new_page(), site, folder, scheme).take_all()
    context.close()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    for scheme in sys.argv[2:] or ("light", "dark"):
        with tempfile.TemporaryDirectory() as data_folder, sync_playwright() as playwright:
            site = Installation(Path(data_folder))
            site.migrate()
            path = chromium_path(Path(playwright.chromium.executable_path))
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
            with site.serving():
                take_screenshots(browser, site, folder, scheme)
            browser.close()


if __name__ == "__main__":
    main()
