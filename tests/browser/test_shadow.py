"""With its shadow: the editor shows what the server found before anything is painted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.devices import ON_A_PHONE_TOO
from tests.browser.editor_page import is_red, open_photo, written
from tests.support.shadows import FOOT, HEIGHT, WIDTH, with_cast_shadow

pytestmark = [pytest.mark.browser, ON_A_PHONE_TOO]
IN_SHADOW = (190 / WIDTH, (FOOT + 25) / HEIGHT)


def test_the_shadow_of_what_is_marked_is_added_in_one_step_of_undo(page: Page, tmp_path: Path) -> None:
    image, mask, _ = with_cast_shadow()
    page.goto("/")
    open_photo(page, written(image, tmp_path / "photo.png"))
    add = page.locator("#mask-menu [data-command=shadow]")
    page.locator("#mask-menu-button").click()
    expect(add).to_be_disabled()
    page.set_input_files("#mask-input", written(255 - mask, tmp_path / "mask.png"))
    expect(page.locator("#photo-covered")).to_have_text(re.compile("% to repaint"))
    assert is_red(page, 230 / WIDTH, (FOOT - 50) / HEIGHT)
    assert not is_red(page, *IN_SHADOW)
    add.click()
    expect(page.locator("#tool-message")).to_have_text("")
    assert is_red(page, *IN_SHADOW)
    assert not is_red(page, 0.9, IN_SHADOW[1])
    page.locator("[data-command=undo]").click()
    assert not is_red(page, *IN_SHADOW)
    page.locator("[data-command=redo]").click()
    page.locator("#mask-menu-button").click()
    add.click()
    expect(page.locator("#tool-message")).to_have_text("No shadow or mirror image of it was found.")
