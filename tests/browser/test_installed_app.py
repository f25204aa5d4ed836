"""What the installed app does beyond the pages: it opens photos that other apps share and files, also without a
connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_up
from tests.browser.editor_page import is_red, open_photo, paint_line

pytestmark = pytest.mark.browser
Send = Callable[[Page, Path], None]


def share(page: Page, photo_file: Path) -> None:
    """Send a photo as the browser does, from a page that the service worker controls."""
    page.evaluate(
        """async () => {
            await navigator.serviceWorker.register("/service-worker.js", { type: "module" })
            if (!navigator.serviceWorker.controller)
                await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve))
            const form = Object.assign(document.createElement("form"), { action: "/shared-photo/", method: "post" })
            form.enctype = "multipart/form-data"
            form.append(Object.assign(document.createElement("input"), { type: "file", name: "photo", id: "shared" }))
            document.body.append(form)
        }"""
    )
    page.locator("#shared").set_input_files(photo_file)
    page.locator("#shared").evaluate("(input) => input.form.submit()")


def send_without_service_worker(page: Page, photo_file: Path) -> None:
    """Share a photo as `share` does, and choose it again where a page asks for it."""
    page.evaluate(
        """() => {
            const form = Object.assign(document.createElement("form"), { action: "/shared-photo/", method: "post" })
            document.body.append(form)
            form.submit()
        }"""
    )
    expect(page.get_by_role("heading", name="Choose the photo again")).to_be_visible()
    page.get_by_label("Choose a photo").set_input_files(photo_file)


by_both_ways = pytest.mark.parametrize("send", [share, send_without_service_worker])


@by_both_ways
def test_a_shared_photo_opens_in_the_editor(page: Page, photo_file: Path, send: Send) -> None:
    send(page, photo_file)
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)


@by_both_ways
def test_a_shared_photo_opens_after_signing_up(visitor: Page, photo_file: Path, send: Send) -> None:
    visitor.goto("/")
    send(visitor, photo_file)
    expect(visitor.locator("#pending-photo")).to_contain_text(photo_file.name)
    sign_up(visitor)
    expect(visitor.locator("#photo-name")).to_have_text(photo_file.name)


def test_a_photo_that_this_browser_cannot_keep_is_asked_for_again(page: Page, photo_file: Path) -> None:
    """As on a full disk: what the service worker gets is then no file."""
    share(page, photo_file)
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    send_without_service_worker(page, photo_file)
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)


def test_a_file_that_is_opened_with_the_app_is_in_the_editor(page: Page, photo_file: Path) -> None:
    queue = "{ value: { setConsumer(consumer) { window.launched = consumer } } }"
    page.add_init_script(f"Object.defineProperty(window, 'launchQueue', {queue})")
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    page.evaluate(
        """async ([name, bytes]) => {
            await launched({ files: [] }) // the app alone
            const file = new File([new Uint8Array(bytes)], name, { type: "image/png" })
            await launched({ files: [{ getFile: async () => file }] })
        }""",
        [photo_file.name, list(photo_file.read_bytes())],
    )
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    page.evaluate("""() => launched({ files: [{ getFile: async () => new File(["no photo"], "notes.txt") }] })""")
    expect(page.locator("#photo-message")).to_contain_text("notes.txt")
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)


def open_installed(page: Page) -> None:
    """Load the page in what looks like the installed app, and wait until the app has kept what it needs."""
    page.add_init_script(
        """const { matchMedia } = window
        window.matchMedia = (query) => query === "(display-mode: standalone)" ? { matches: true } : matchMedia(query)"""
    )
    page.reload()
    page.evaluate(
        """async () => {
            const cache = await caches.open("dreamlayer-editor")
            while ((await cache.keys()).length < 100) await new Promise((resolve) => setTimeout(resolve, 100))
        }"""
    )


def test_the_editor_of_the_installed_app_opens_without_a_connection(page: Page, photo_file: Path) -> None:
    open_installed(page)
    open_photo(page, photo_file)
    expect(page.locator("#saved")).to_have_text("Saved")
    page.context.set_offline(True)
    page.goto("/?generation=1")
    page.wait_for_selector("#editor[data-ready]")
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    paint_line(page, from_left=0.4, to_left=0.6)
    assert is_red(page)
    expect(page.locator("#saved")).to_have_text("Offline: saved in this browser")
    page.context.set_offline(False)
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    assert is_red(page)


def test_after_signing_out_no_editor_is_kept(visitor: Page) -> None:
    sign_up(visitor)
    open_installed(visitor)
    visitor.locator(".account-menu summary").click()
    visitor.get_by_role("button", name="Sign out").click()
    expect(visitor.locator("#sample")).to_be_visible()
    visitor.context.set_offline(True)
    visitor.goto("/")
    expect(visitor.locator("#sample")).to_be_visible()
    expect(visitor.locator("#editor")).to_have_count(0)
