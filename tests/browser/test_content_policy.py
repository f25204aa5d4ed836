"""Every page works under the content security policy: the browser reports no violation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from skimage import data

from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, PATIENCE_MS, confirm
from tests.browser.devices import DEVICES, ON_A_PHONE_TOO, Device
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

REPORTED = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`refused by policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))
"""


class ConsoleLog:
    """Collects the errors and warnings of the browser console with the URL of their page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.reports: list[str] = []
        page.add_init_script(REPORTED)
        page.on("pageerror", lambda error: self.reports.append(f"{page.url}: {error}"))
        page.on("console", self.note)

    def note(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        # The admin declares no icon, so the browser requests /favicon.ico.
        if message.type in ("error", "warning") and not where.endswith("/favicon.ico"):
            self.reports.append(f"{self.page.url}: {message.text} {where}")

    def visit(self, path: str, *, status: int = 200) -> None:
        answer = self.page.goto(path)
        self.wait_for_scripts()
        assert answer is not None
        assert answer.status == status, path

    def wait_for_scripts(self) -> None:
        """Wait until the page is loaded and its scripts have nothing to do; a quiet network would take 500 ms more."""
        self.page.wait_for_load_state()
        self.page.evaluate("new Promise(requestIdleCallback)")


@pytest.fixture
def site(site: Installation, device: Device, tmp_path: Path) -> Iterator[Installation]:
    """For a phone another one: the link that creates the administrator opens once."""
    if device == DEVICES["desktop"]:
        yield site
        return
    another = Installation(tmp_path)
    another.migrate()
    with another.serving():
        yield another


@pytest.fixture
def console(browser: Browser, site: Installation, device: Device) -> Iterator[ConsoleLog]:
    context = device.context(browser, base_url=site.url)
    context.set_default_timeout(PATIENCE_MS)
    yield ConsoleLog(context.new_page())
    context.close()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    Image.fromarray(data.astronaut()[:128, 100:228]).save(photo)
    hole = np.full((128, 128), 255, np.uint8)
    hole[60:70, 60:70] = 0
    Image.fromarray(hole).save(mask)
    return photo, mask


@pytest.mark.smoke
@ON_A_PHONE_TOO
def test_no_page_violates_its_policy(console: ConsoleLog, site: Installation, files: tuple[Path, Path]) -> None:
    page = console.page
    console.visit("/")
    for path in ("login", "signup", "password/reset"):
        console.visit(f"/accounts/{path}/")

    link = re.search(r"http://\S+(/setup/\S+)", site.log)
    assert link
    console.visit(link[1])
    assert violations(page) == []
    page.get_by_label("Email").fill("boss@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.locator("main form button[type=submit]").click()
    page.get_by_role("link", name="Remove the rocket").click()
    page.wait_for_selector("#editor[data-state=editing]")

    photo, mask = files
    page.set_input_files("#photo-input", photo)
    page.set_input_files("#mask-input", mask)
    page.click("#generate")
    expect(page.locator("#result")).to_be_visible()
    console.wait_for_scripts()
    generation = page.get_attribute("#details", "href")
    assert generation
    number = generation.strip("/").rpartition("/")[2]
    page.mouse.move(400, 400)

    console.visit("/keys/")
    page.get_by_label("Name").fill("for the walk")
    page.get_by_role("button", name="Make key").click()
    confirm(page)
    expect(page.locator("#new-key")).to_be_visible()
    page.locator("[data-copy=new-key]").click()

    for path in ("/history/", generation, f"/?source={number}"):
        console.visit(path)
    console.visit("/account/")
    for path in ("email", "password/change", "logout", "sessions", "2fa", "2fa/webauthn", "reauthenticate"):
        console.visit(f"/accounts/{path}/")

    console.visit("/admin/")
    tables = page.locator("main dl a[href^='/admin/'], .sections a[href^='/admin/']").evaluate_all(
        "links => [...new Set(links.map(link => link.getAttribute('href')))]"
    )
    assert {"/admin/inpainting/generation/", "/admin/accounts/user/", "/admin/accounts/apikey/"} <= set(tables)
    for table in tables:
        console.visit(table)
        row = page.locator("#result_list tbody a:visible").first
        if row.count():
            row.click()
            console.wait_for_scripts()
    for path in (
        "/admin/accounts/user/add/",
        "/admin/auth/group/add/",
        f"/admin/inpainting/generation/{number}/change/",
    ):
        console.visit(path)
    console.visit("/admin/accounts/apikey/")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "revoke")
    page.get_by_role("button", name="Go", exact=True).or_(page.get_by_role("button", name="Run", exact=True)).click()
    expect(page.locator(".messagelist")).to_contain_text("revoked")
    assert console.reports == []
    console.visit("/nowhere/", status=404)
    (complaint,) = console.reports
    assert "404" in complaint  # the 404 of the page itself, which is expected


def test_an_injected_script_does_not_run(console: ConsoleLog) -> None:
    console.visit("/accounts/login/")
    console.page.evaluate(
        """() => {
            const script = document.createElement("script")
            script.textContent = "window.smuggled = true"
            document.body.append(script)
        }"""
    )
    assert console.page.evaluate("window.smuggled") is None
    assert any("script-src" in text for text in console.reports)
