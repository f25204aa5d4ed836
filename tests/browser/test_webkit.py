"""A walk through the editor in WebKit, the engine of Safari: sign up, open a photo, paint, erase, compare.

Needs `WebKitWebDriver`, its MiniBrowser and Xvfb: Debian's packages `webkit2gtk-driver` and `xvfb`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, WebKitGTK, WebKitGTKOptions
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from selenium.webdriver.webkitgtk.service import Service

from tests.browser.conftest import PASSWORD
from tests.installation import Installation

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning"),  # by Selenium itself
]
BROWSERS = (
    "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
    "/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
)
PATIENCE_SECONDS = 60


@pytest.fixture
def webkit(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebKitGTK]:
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browser = next(filter(os.path.exists, BROWSERS), None)
    if not (driver and screen and browser):
        reason = "there is no WebKit: install webkit2gtk-driver and xvfb"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    read, write = os.pipe()
    command = [screen, "-displayfd", str(write), "-screen", "0", "1280x1000x24", "-nolisten", "tcp"]
    display = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("DISPLAY", f":{os.read(read, 16).decode().strip()}")
        monkeypatch.setenv("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1")  # bubblewrap fails in containers
        options = WebKitGTKOptions()
        options.binary_location = browser
        options.add_argument("--automation")
        page = WebKitGTK(options=options, service=Service(driver))
        yield page
        page.quit()
    finally:
        display.terminate()
        display.wait()


def test_an_object_is_erased(webkit: WebKitGTK, site: Installation, photo_file: Path) -> None:
    wait = WebDriverWait(webkit, PATIENCE_SECONDS)

    def one(selector: str) -> bool:
        return bool(webkit.find_elements(By.CSS_SELECTOR, selector))

    webkit.get(f"{site.url}/accounts/signup/")
    webkit.find_element(By.NAME, "email").send_keys("webkit@example.org")
    for name in ("password1", "password2"):
        webkit.find_element(By.NAME, name).send_keys(PASSWORD)
    webkit.find_element(By.XPATH, "//button[contains(., 'Create account')]").click()
    wait.until(lambda _: one("#editor[data-ready]"))
    webkit.find_element(By.ID, "photo-input").send_keys(str(photo_file))
    wait.until(lambda _: one("#editor[data-state=editing]"))
    surface = webkit.find_element(By.ID, "surface")
    ActionChains(webkit).move_to_element_with_offset(surface, -40, 0).click_and_hold().move_by_offset(
        80, 0
    ).release().perform()
    wait.until(lambda _: webkit.find_element(By.ID, "generate").is_enabled())
    webkit.find_element(By.ID, "generate").click()
    wait.until(lambda _: webkit.find_element(By.ID, "result").is_displayed())
    assert webkit.find_element(By.ID, "result-told").text.startswith("Erased in")
    webkit.get(f"{site.url}/history/")
    assert len(webkit.find_elements(By.CSS_SELECTOR, ".card")) == 1
