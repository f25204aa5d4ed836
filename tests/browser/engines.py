"""Drivers of browsers other than Chromium, with the few steps that a walk through the pages needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from selenium.webdriver import ActionChains, WebKitGTK, WebKitGTKOptions
from selenium.webdriver.common.by import By
from selenium.webdriver.webkitgtk.service import Service
from websockets.sync.client import ClientConnection, connect

MESSAGE_BYTES = 2**24
START_SECONDS = 60


class BiDiError(Exception):
    """Firefox answered that a command or a script failed."""


class Engine(Protocol):
    """A page of a browser. CSS selectors find one element each. `errors`: of the console, where the browser tells."""

    errors: list[str]

    def open(self, url: str) -> None: ...
    def fill(self, selector: str, text: str) -> None: ...
    def click(self, selector: str) -> None: ...
    def choose_file(self, selector: str, path: Path) -> None: ...
    def drag(self, selector: str, *, right: int) -> None:
        """Press the mouse left of the middle of an element, and release it `right` CSS pixels further right."""

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON."""


class WebKit:
    """WebKitGTK's MiniBrowser, by Selenium."""

    def __init__(self, driver: WebKitGTK) -> None:
        self.driver = driver
        self.errors: list[str] = []

    def open(self, url: str) -> None:
        self.driver.get(url)

    def fill(self, selector: str, text: str) -> None:
        self._one(selector).send_keys(text)

    def click(self, selector: str) -> None:
        self._one(selector).click()

    def choose_file(self, selector: str, path: Path) -> None:
        self.fill(selector, str(path))

    def drag(self, selector: str, *, right: int) -> None:
        actions = ActionChains(self.driver).move_to_element_with_offset(self._one(selector), -right // 2, 0)
        actions.click_and_hold().move_by_offset(right, 0).release().perform()

    def value(self, expression: str) -> Any:
        return self.driver.execute_script(f"return {expression}")

    def _one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)


class Firefox:
    """Firefox, by the protocol that it serves itself: WebDriver BiDi (https://w3c.github.io/webdriver-bidi/)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = count(1)
        self.errors: list[str] = []
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["log.entryAdded"])
        self.context = self._send("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str) -> None:
        self._send("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def fill(self, selector: str, text: str) -> None:
        self.value(f"{_element(selector)}.focus()")
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._act("key", keys)

    def click(self, selector: str) -> None:
        self._act("pointer", [self._move(selector, 0), {"type": "pointerDown", "button": 0}, _RELEASE])

    def choose_file(self, selector: str, path: Path) -> None:
        self._send(
            "input.setFiles", context=self.context, element=self._evaluate(_element(selector)), files=[str(path)]
        )

    def drag(self, selector: str, *, right: int) -> None:
        start, end = self._move(selector, -right // 2), self._move(selector, right // 2)
        self._act("pointer", [start, {"type": "pointerDown", "button": 0}, {**end, "duration": 100}, _RELEASE])

    def value(self, expression: str) -> Any:
        found = self._evaluate(f"JSON.stringify({expression})")
        return json.loads(found["value"]) if found["type"] == "string" else None

    def _move(self, selector: str, right: int) -> dict[str, Any]:
        element = {key: value for key, value in self._evaluate(_element(selector)).items() if key == "sharedId"}
        return {"type": "pointerMove", "x": right, "y": 0, "origin": {"type": "element", "element": element}}

    def _act(self, kind: str, actions: list[dict[str, Any]]) -> None:
        source = {"type": kind, "id": kind, "actions": actions}
        self._send("input.performActions", context=self.context, actions=[source])

    def _evaluate(self, expression: str) -> dict[str, Any]:
        target = {"context": self.context}
        answer = self._send("script.evaluate", expression=expression, target=target, awaitPromise=True)
        if answer["type"] != "success":
            raise BiDiError(answer)
        found: dict[str, Any] = answer["result"]
        return found

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(START_SECONDS))
            if answer.get("id") == number:
                if answer["type"] != "success":
                    raise BiDiError(answer)
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.errors.append(answer["params"]["text"])


_RELEASE = {"type": "pointerUp", "button": 0}


def _element(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


@contextmanager
def webkit(driver: str, browser: str, screen: str) -> Iterator[WebKit]:
    """Paths of WebKitWebDriver, of MiniBrowser and of Xvfb, which shows it."""
    read, write = os.pipe()
    command = [screen, "-displayfd", str(write), "-screen", "0", "1280x1000x24", "-nolisten", "tcp"]
    display = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    try:
        environment = {
            **os.environ,
            "DISPLAY": f":{os.read(read, 16).decode().strip()}",
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # bubblewrap fails in containers
        }
        options = WebKitGTKOptions()
        options.binary_location = browser
        options.add_argument("--automation")
        page = WebKitGTK(options=options, service=Service(driver, env=environment))
        try:
            yield WebKit(page)
        finally:
            page.quit()
    finally:
        display.terminate()
        display.wait()
        os.close(read)
        os.close(write)


@contextmanager
def firefox(browser: str, profile: Path) -> Iterator[Firefox]:
    """Path of Firefox, and an empty folder for its profile."""
    # A browser under root refuses a home of somebody else.
    environment = {**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"}
    command = [browser, "--headless", "--remote-debugging-port", "0", "--profile", str(profile), "--no-remote"]
    log = profile / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        with connect(f"{_address(log)}/session", max_size=MESSAGE_BYTES) as socket:
            yield Firefox(socket)
    finally:
        process.terminate()
        process.wait()


def _address(log: Path) -> str:
    """Where Firefox says that it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(f"Firefox does not listen:\n{log.read_text()}")
