"""A real server and a real Chromium for the tests of the pages; without a browser they are skipped, but never in CI."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

try:
    from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect, sync_playwright
except ImportError:  # without the development extras there is no browser either
    collect_ignore_glob = ["test_*.py"]
    if os.environ.get("CI") == "true":
        raise

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 60
PATIENCE_MS = 30_000
PASSWORD = "dusk-over-the-bench-42"
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
emails = (f"person{number}@example.org" for number in count(1))


@dataclass(frozen=True, slots=True)
class Site:
    """A running DreamLayer with a data folder of its own."""

    url: str
    log: Path


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """Where it is; asked first, or servers would be started for nothing."""
    with sync_playwright() as playwright:
        path = chromium_path(Path(playwright.chromium.executable_path))
    if path is None:
        reason = "there is no Chromium: install it as /usr/bin/chromium or name it in DREAMLAYER_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    log = folder / "server.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DREAMLAYER_", "DJANGO_"))}
    environment["DREAMLAYER_DATA_DIR"] = str(folder / "data")
    manage = [sys.executable, str(ROOT / "manage.py")]
    with log.open("wb") as output:
        subprocess.run([*manage, "migrate"], check=True, cwd=ROOT, env=environment, stdout=output, stderr=output)
        port = free_port()
        server = subprocess.Popen(
            [*manage, "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(f"{url}/readyz", server, log)
            yield Site(url, log)
        finally:
            stop(server)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Of the module, not the session: while Playwright is open its event loop runs here, which Django minds."""
    expect.set_options(timeout=PATIENCE_MS)  # its own five seconds are too few on a busy machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser: Browser, site: Site) -> Iterator[Page]:
    """A page of somebody who has not signed in. A script error on it fails the test."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    yield from watched_page(context)


@pytest.fixture(scope="module")
def signed_up(browser: Browser, site: Site) -> StorageState:
    context = browser.new_context(base_url=site.url)
    sign_up(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, site: Site, signed_up: StorageState) -> Iterator[Page]:
    """The editor of somebody who has signed up. A script error on it fails the test."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900}, storage_state=signed_up)
    for page in watched_page(context):
        page.goto("/")
        page.wait_for_selector("#editor[data-ready]")
        yield page


def watched_page(context: BrowserContext) -> Iterator[Page]:
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def sign_up(page: Page) -> str:
    """Make an account through the page itself; ends in the editor. Returns the e-mail address."""
    email = next(emails)
    page.goto("/accounts/signup/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_selector("#editor[data-ready]")
    return email


def chromium_path(playwrights_own: Path) -> str | None:
    named = os.environ.get("DREAMLAYER_CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    installed = shutil.which("chromium")
    return installed or (str(playwrights_own) if playwrights_own.exists() else None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(SECONDS_TO_START * 5):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the server did not become ready:\n{log.read_text()[-4000:]}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ask it to go, as Ctrl-C does; take its whole group down if it will not."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    try:
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
