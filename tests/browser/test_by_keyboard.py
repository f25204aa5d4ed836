"""The whole flow without a pointer, and what a screen reader is told of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, emails, sign_up
from tests.browser.editor_page import kept_metadata, open_photo, paint_line, start, wait_on_a_fake_generation

pytestmark = pytest.mark.browser

MOST_TABS = 80
FOCUSED = """() => {
    const element = document.activeElement
    const { outlineStyle, boxShadow } = getComputedStyle(element)
    const words = element.getAttribute("aria-label") ?? element.labels?.[0]?.innerText ?? element.innerText ?? ""
    const { width, height } = element.getBoundingClientRect()
    return {
        words: words.trim() || element.title,
        id: element.id,
        isMarked: outlineStyle !== "none" || boxShadow !== "none" || element.matches(":has(:focus-visible)"),
        isSeen: width * height > 1 || element.labels?.length > 0,
    }
}"""
LISTENING = """
window.said = []
const known = new Map()
const isRendered = (region) => region.checkVisibility()
const listen = () => {
    for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
        const now = isRendered(region) ? region.textContent.trim() : null
        const before = known.get(region)
        known.set(region, now)
        const isHeard = region.role === "alert" ? before !== undefined : typeof before === "string"
        if (isHeard && now && now !== before) said.push(now)
    }
    requestAnimationFrame(listen)
}
requestAnimationFrame(listen)
"""
"""What the live regions tell: of polite ones only what changes while they are on the page."""


def tab_to(page: Page, words: str) -> None:
    """Press Tab until the element with these words, from their start, has the focus. It is then marked and seen."""
    passed = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focused: dict[str, Any] = page.evaluate(FOCUSED)
        if focused["words"].startswith(words):
            assert focused["isMarked"], f"{words} does not show that it has the focus"
            assert focused["isSeen"], f"{words} has the focus and no size"
            return
        passed.append(focused["words"] or focused["id"])
    pytest.fail(f"Tab does not reach {words}: {passed}")


def wait_until_said(page: Page, text: str) -> list[str]:
    """Everything that was said until this was."""
    said: list[str] = page.evaluate(
        """async (text) => {
            const end = performance.now() + 25_000
            while (!said.some((one) => one.includes(text)) && performance.now() < end)
                await new Promise((next) => setTimeout(next, 20))
            return said
        }""",
        text,
    )
    assert any(text in one for one in said), said
    return said


def test_a_visitor_removes_the_rocket_by_keys_and_signs_up(visitor: Page) -> None:
    page = visitor
    page.add_init_script(LISTENING)
    page.goto("/")
    tab_to(page, "Mark it")
    page.keyboard.press("Enter")
    tab_to(page, "Remove")
    page.keyboard.press("Enter")
    wait_until_said(page, "nothing else touched")
    result = page.get_by_alt_text("The photo as painted")
    tab_to(page, "Before")
    page.keyboard.press("Space")
    expect(result).to_be_hidden()
    page.keyboard.press("Space")
    expect(result).to_be_visible()
    page.goto("/accounts/signup/")
    tab_to(page, "Email")
    page.keyboard.type(next(emails))
    tab_to(page, "Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#editor[data-ready]")


@pytest.mark.smoke
def test_the_sample_is_opened_masked_erased_compared_and_downloaded_by_keys(visitor: Page) -> None:
    page = visitor
    page.add_init_script(LISTENING)
    sign_up(page)
    page.goto("/welcome/")
    tab_to(page, "Remove the rocket")
    page.keyboard.press("Enter")
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#photo-name")).to_have_text("rocket.jpg")

    tab_to(page, "Photo and mask")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("#photo-covered")).to_contain_text("to repaint")
    tab_to(page, "Remove")  # the task
    page.keyboard.press("Space")
    tab_to(page, "Remove")  # the button
    page.keyboard.press("Enter")
    said = wait_until_said(page, "nothing else touched")
    assert any("to repaint" in one for one in said)
    assert any("…" in one for one in said), "that it is painted"
    expect(page.locator("#result")).to_be_focused()
    expect(page.locator("#figure-outside")).to_have_text("0")

    tab_to(page, "Divider")
    page.keyboard.press("Enter")
    tab_to(page, "Divider: before")
    before = page.locator("#divider").get_attribute("aria-valuenow")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#divider")).not_to_have_attribute("aria-valuenow", str(before))
    tab_to(page, "Download")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    with Image.open(download.value.path()) as image:
        assert image.size == (640, 427)
        assert np.asarray(image).any()
    assert kept_metadata(page)["engine"] == "quick-fill"


def test_a_screen_reader_is_told_of_painting_and_of_what_failed(visitor: Page, photo_file: Path) -> None:
    page = visitor
    page.add_init_script(LISTENING)
    sign_up(page)
    state, sockets = wait_on_a_fake_generation(page)
    state["status"] = "queued"
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    start(page)
    wait_until_said(page, "Waiting for its turn…")
    state |= {"status": "running", "progress": {"step": 3, "of": 12, "percent": 25}}
    sockets[-1].send('{"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 75}')
    wait_until_said(page, "Painting…")
    assert announced(page) == {"Painting…": "polite"}
    state |= {"status": "failed", "error": {"code": "out_of_memory", "message": "The memory is full."}}
    sockets[-1].send('{"type": "failed"}')
    said = wait_until_said(page, "The memory is full.")
    assert announced(page)["The memory is full."] == "assertive"
    order = [re.sub(r"\W+$", "", text) for text in said]
    phases = ["Waiting for its turn", "Painting", "The memory is full"]
    assert [text for text in order if text in phases] == phases, "each once"


def announced(page: Page) -> dict[str, str]:
    """The texts of the live regions in Chromium's accessibility tree -> polite or assertive."""
    devtools = page.context.new_cdp_session(page)
    nodes = {node["nodeId"]: node for node in devtools.send("Accessibility.getFullAXTree")["nodes"]}

    def text_of(node: dict[str, Any]) -> str:
        if node.get("role", {}).get("value") == "StaticText":
            return str(node["name"]["value"])
        return "".join(text_of(nodes[child]) for child in node.get("childIds", []) if child in nodes)

    found = {}
    for node in nodes.values():
        live = [entry["value"]["value"] for entry in node.get("properties", []) if entry["name"] == "live"]
        if not node["ignored"] and live and node["role"]["value"] in ("status", "alert") and text_of(node):
            found[text_of(node)] = live[0]
    return found
