"""A walk through the editor in WebKit, the engine of Safari, and in Firefox: sign up, open a photo, paint, erase.

WebKit needs Debian's packages `webkit2gtk-driver` and `xvfb`, Firefox `firefox-esr`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

pytest.importorskip("selenium", reason="comes with the development extras")

from selenium.common.exceptions import WebDriverException

from tests.browser.conftest import PASSWORD
from tests.browser.engines import BiDiError, Engine, firefox, webkit
from tests.support.installation import Installation

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning"),  # by Selenium itself
]
MINI_BROWSERS = (
    "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
    "/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
)
PATIENCE_SECONDS = 60


@pytest.fixture(params=["webkit", "firefox"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "webkit":
        driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
        browser = next(filter(os.path.exists, MINI_BROWSERS), None)
        if driver and screen and browser:
            with webkit(driver, browser, screen) as page:
                yield page
            return
        missing("there is no WebKit: install webkit2gtk-driver and xvfb")
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        missing("there is no Firefox: install firefox-esr")
    profile = tmp_path / "profile"
    profile.mkdir()
    with firefox(path, profile) as page:
        yield page


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for(engine: Engine, expression: str) -> None:
    """Until a JavaScript expression is true. While the next page loads, elements are missing and answers are lost."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        failure = None
        try:
            if engine.value(expression):
                return
        except (WebDriverException, BiDiError) as error:
            failure = error
        assert time.monotonic() < deadline, f"{expression}: {failure}"
        time.sleep(0.1)


def test_an_object_is_erased(
    engine: Engine, site: Installation, photo_file: Path, request: pytest.FixtureRequest
) -> None:
    def is_there(selector: str) -> str:
        return f"Boolean(document.querySelector({selector!r}))"

    engine.open(f"{site.url}/accounts/signup/")
    engine.fill("[name=email]", f"{request.node.callspec.id}@example.org")
    engine.fill("[name=password1]", PASSWORD)
    engine.click("form .button.primary")
    wait_for(engine, is_there("#editor[data-ready]"))
    engine.choose_file("#photo-input", photo_file)
    wait_for(engine, is_there("#editor[data-state=editing]"))
    engine.drag("#surface", right=80)
    wait_for(engine, is_there("#generate:enabled"))
    engine.click("#generate")
    wait_for(engine, "document.querySelector('#result').checkVisibility()")
    wait_for(engine, "document.querySelector('#result-summary').textContent.startsWith('Removed in')")
    engine.open(f"{site.url}/history/")
    wait_for(engine, "document.querySelectorAll('.card').length === 1")
    assert engine.errors == []
