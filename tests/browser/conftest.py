"""Fixtures for page tests with a real server and a real Chromium.

Without a browser the tests are skipped, except in CI, where they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

try:
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Page,
        Request,
        StorageState,
        WebError,
        expect,
        sync_playwright,
    )
    from skimage import data

    from tests.browser.accessibility import IN_EVERY_RUN, SCREENS
    from tests.browser.devices import DEVICES, Device
    from tests.browser.editor_page import SIDE, Pixels, written
except ImportError:  # Playwright comes with the development extras
    collect_ignore_glob = ["test_*.py"]
    if os.environ.get("CI") == "true":
        raise

from tests.support.installation import Installation

Run = Callable[[str, str], Any]
PATIENCE_MS = 30_000
PASSWORD = "dusk-over-the-bench-42"
ADMINISTRATOR = "administrator@example.org"
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REQUEST_FAILED = ("Failed to load resource", "WebSocket connection to")
"""How Chromium reports a request that failed, on the console."""
SOCKET_IS_CLOSED = "WebSocket is already in CLOSING or CLOSED state."
"""An error of Playwright's stand-in for sockets, whose message arrives while the page is left."""
emails = (f"person{number}@example.org" for number in count(1))


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """Path of the browser; runs first, so that no server is started in vain."""
    with sync_playwright() as playwright:
        path = chromium_path(Path(playwright.chromium.executable_path))
    if path is None:
        reason = "there is no Chromium: install it as /usr/bin/chromium or name it in DREAMLAYER_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """While Playwright is open, its event loop runs in this thread, and Django refuses ORM calls: no test of this
    package makes any."""
    expect.set_options(timeout=PATIENCE_MS)  # Playwright's default of five seconds is too short on a busy machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Device:
    """A desktop, or what the marks of `devices.py` say."""
    return DEVICES[getattr(request, "param", "desktop")]


@pytest.fixture
def visitor(browser: Browser, site: Installation, device: Device) -> Iterator[Page]:
    """A page without a session. `watched_page` watches it."""
    yield from watched_page(device.context(browser, base_url=site.url))


@pytest.fixture(scope="module")
def signed_up(browser: Browser, site: Installation) -> StorageState:
    context = browser.new_context(base_url=site.url)
    sign_up(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, site: Installation, signed_up: StorageState, device: Device) -> Iterator[Page]:
    """The editor with the session of a registered user. `watched_page` watches it."""
    for page in watched_page(device.context(browser, base_url=site.url, storage_state=signed_up)):
        empty_draft(page)
        page.goto("/")
        page.wait_for_selector("#editor[data-ready]")
        yield page


@pytest.fixture
def installed_page(browser: Browser, installation: Installation, device: Device) -> Iterator[Page]:
    """The editor with the session of a new user, on the installation of the module."""
    for page in watched_page(device.context(browser, base_url=installation.url)):
        sign_up(page)
        yield page


@pytest.fixture(scope="module")
def run(browser: Browser, site: Installation) -> Iterator[Run]:
    """run(module, body) -> the return value of a script that sees the module's exports as `m`; one shared page."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/accounts/login/")  # has the import map, and fewer scripts than the editor
    yield lambda module, body: page.evaluate(f"async () => {{ const m = await import({module!r}); {body} }}")
    context.close()


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return np.ascontiguousarray(data.astronaut()[:SIDE, 100 : 100 + SIDE])


@pytest.fixture
def photo_file(photo: Pixels, tmp_path: Path) -> Path:
    return written(photo, tmp_path / "astronaut.png")


@pytest.fixture(scope="session")
def administered_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server with an administrator. `site` has none: the link that creates the first one would end."""
    site = Installation(tmp_path_factory.mktemp("administered"), DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    site.migrate()
    site.manage("createsuperuser", "--noinput", "--email", ADMINISTRATOR)
    with site.serving():
        yield site


@pytest.fixture(scope="module")
def administrator(browser: Browser, administered_site: Installation) -> StorageState:
    """The session of the administrator."""
    context = browser.new_context(base_url=administered_site.url)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(ADMINISTRATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_selector("#editor[data-ready]")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(params=[pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.full) for name in SCREENS])
def screen(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of a browser context, for each kind of screen."""
    return {**SCREENS[request.param], "reduced_motion": "reduce"}


def watched_page(context: BrowserContext) -> Iterator[Page]:
    """A page of the context. Errors of scripts, of the console and of the policy, and requests to elsewhere fail.

    Refused and aborted requests are no errors: tests provoke them.
    """
    context.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(REQUEST_FAILED):
            errors.append(f"{message.text} ({message.location['url']}:{message.location['lineNumber']})")

    def note_elsewhere(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.hostname not in ("127.0.0.1", "localhost"):
            errors.append(f"requested from elsewhere: {request.url}")

    def note_error(error: WebError) -> None:
        if error.error.message != SOCKET_IS_CLOSED:
            errors.append(str(error.error))

    context.on("weberror", note_error)
    context.on("console", note)
    context.on("request", note_elsewhere)
    yield context.new_page()
    context.close()
    assert errors == []


def empty_draft(page: Page) -> None:
    """Close what an earlier test has left open in the editor of the same account."""
    token = page.request.get("/session/").json()["csrf_token"]
    revision = page.request.get("/api/draft/").json()["revision"]
    document = {"version": 1, "entries": [], "cursor": 0, "settings": {}, "generation": None, "step": "editing"}
    empty = {"revision": revision, "document": document, "pictures": []}
    assert page.request.put("/api/draft/", data=empty, headers={"X-CSRFToken": token}).ok


def sign_up(page: Page, site_url: str = "") -> str:
    """Create an account through the sign-up page, which leads to the editor. Return the e-mail address."""
    email = next(emails)
    page.goto(f"{site_url}/accounts/signup/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_selector("#editor[data-ready]")
    return email


def enter_password(page: Page, email: str) -> None:
    """Sign in through the page, up to the second step if there is one."""
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.goto("/accounts/logout/")
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()


def confirm(page: Page) -> None:
    """Enter the password again, as pages ask for before what concerns the account."""
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def chromium_path(playwright_path: Path) -> str | None:
    named = os.environ.get("DREAMLAYER_CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    installed = shutil.which("chromium")
    return installed or (str(playwright_path) if playwright_path.exists() else None)
