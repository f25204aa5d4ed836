"""The palette finds commands, settings and pages by their words."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import sign_up
from tests.browser.editor_page import is_red, more_settings, open_photo, paint_line

pytestmark = pytest.mark.browser


def test_the_palette_runs_a_command_shows_a_setting_and_opens_a_page(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    field, options = page.get_by_label("Find a command"), page.locator(".palette-list li")
    page.keyboard.press("Control+k")
    field.fill("clear")
    expect(options.first).to_contain_text("Clear")
    assert violations(page) == []
    field.press("Enter")
    expect(field).to_have_count(0)
    assert not is_red(page)
    page.keyboard.press("Control+k")
    field.fill("mask grow")
    field.press("Enter")
    expect(page.locator("#mask-grow")).to_be_focused()
    page.keyboard.press("Control+k")
    field.fill("nothing like this")
    expect(page.get_by_text("Nothing has these words.")).to_be_visible()
    field.fill("page")
    expect(options.filter(has_text="API keys")).to_have_count(1)
    field.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    options.filter(has_text="History").click()
    page.wait_for_url("**/history/")


def test_the_palette_uses_a_preset(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    more_settings(page)
    grow = page.locator("#mask-grow")
    grow.fill("7")
    page.get_by_role("button", name="Presets").click()
    page.get_by_label("Name of the preset").fill("Wide edges")
    page.get_by_role("button", name="Save these settings").click()
    page.keyboard.press("Escape")
    grow.fill("3")
    page.reload()
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    expect(grow).to_have_value("3")
    page.keyboard.press("Control+k")
    page.get_by_label("Find a command").fill("wide preset")
    expect(page.locator(".palette-list li")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(grow).to_have_value("7")
