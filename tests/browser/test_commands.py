"""The commands on a page: keys, buttons with their labels and states, and the help sheet."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

PLAYGROUND = """async () => {
    const { Commands } = await import("editor/input/commands")
    document.body.insertAdjacentHTML("beforeend", `<div id="playground">
        <button data-command="undo"></button><button data-command="brush"><span>Brush</span></button>
        <button data-command="redo"></button><input id="words"><div id="area" tabindex="0">area</div></div>`)
    window.ran = []
    let isPressed = false
    const note = (id) => () => window.ran.push(id)
    window.commands = new Commands({ surface: document.getElementById("area") })
    commands.connect({
        undo: { run: note("undo"), isEnabled: () => window.ran.length < 99 },
        brush: { run: () => { window.ran.push("brush"); isPressed = true }, isPressed: () => isPressed },
        hand: { run: note("hand"), end: note("hand ended") },
        crosshair: (event) => window.ran.push(event.key), finish: note("finish"), press: note("press"),
    })
}"""


def test_buttons_keys_and_the_help_sheet_come_from_the_table(visitor: Page) -> None:
    visitor.goto("/accounts/login/")
    visitor.evaluate(PLAYGROUND)

    def ran() -> list[str]:
        found: list[str] = visitor.evaluate("window.ran.splice(0)")
        return found

    undo = visitor.locator("[data-command=undo]")
    expect(undo).to_have_attribute("title", "Undo (Ctrl+Z)")
    expect(undo).to_have_attribute("aria-label", "Undo")
    expect(undo).to_have_attribute("aria-keyshortcuts", "Control+Z")
    expect(visitor.locator("[data-command=redo]")).to_be_disabled()
    brush = visitor.locator("[data-command=brush]")
    expect(brush).to_have_attribute("aria-pressed", "false")
    undo.click()
    visitor.keyboard.press("b")
    expect(brush).to_have_attribute("aria-pressed", "true")
    assert ran() == ["undo", "brush"]

    visitor.locator("#words").fill("")
    for key in ("b", "Space", "ArrowLeft", "Enter"):
        visitor.keyboard.press(key)
    assert ran() == []
    expect(visitor.locator("#words")).to_have_value("b ")
    brush.focus()
    visitor.keyboard.press("Enter")
    visitor.keyboard.press("Space")
    assert ran() == ["brush", "brush"]
    visitor.locator("#area").hover()
    visitor.keyboard.press("Space")
    assert ran() == ["hand", "hand ended"]
    visitor.keyboard.press("ArrowLeft")
    assert ran() == []
    visitor.locator("#area").focus()
    visitor.keyboard.press("Shift+ArrowLeft")
    visitor.keyboard.press("Enter")
    assert ran() == ["ArrowLeft", "press"]

    visitor.locator("main").focus()
    visitor.keyboard.press("?")
    sheet = visitor.get_by_role("dialog", name="Keys and gestures")
    expect(sheet).to_contain_text("Undo")
    expect(sheet).not_to_contain_text("Redo")
    visitor.keyboard.press("b")
    assert ran() == []
    visitor.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
