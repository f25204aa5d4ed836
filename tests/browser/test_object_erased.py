"""An object of scikit-image's photo of coins is selected with one click and erased, on a desktop and on a phone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, expect
from skimage import data

from tests.browser.conftest import empty_draft, watched_page
from tests.browser.editor_page import choose_tool, generate, kept_generation, open_photo, photo_box, written
from tests.installation import Installation

pytestmark = pytest.mark.browser
COIN, BESIDE = np.s_[175:200, 335:358], np.s_[222:235, 325:365]
"""The middle of a coin, and the ground beside it."""


@pytest.mark.parametrize("width", [1280, 390])
def test_one_click_selects_an_object_and_erase_removes_it(
    browser: Browser, site: Installation, signed_up: StorageState, tmp_path: Path, width: int
) -> None:
    coins = data.coins()
    context = browser.new_context(
        base_url=site.url, viewport={"width": width, "height": 844}, has_touch=width < 600, storage_state=signed_up
    )
    for page in watched_page(context):
        empty_draft(page)
        page.goto("/")
        open_photo(page, written(coins, tmp_path / "coins.png"))
        choose_tool(page, "Select an object")
        click_at(page, 345 / 384, 187 / 303, is_touch=width < 600)
        expect(page.locator("#photo-covered")).to_have_text(re.compile(r"^2\.\d % to repaint"))
        generate(page)
        stored = kept_generation(page)
        with Image.open(io.BytesIO(page.request.get(stored["images"][0]["url"]).body())) as image:
            result = np.asarray(image.convert("L")).astype(float)
        assert coins[COIN].mean() > 120
        assert result[COIN].mean() == pytest.approx(coins[BESIDE].mean(), abs=25)


def click_at(page: Page, across: float, down: float, *, is_touch: bool) -> None:
    box = photo_box(page)
    place = box["x"] + across * box["width"], box["y"] + down * box["height"]
    if is_touch:
        page.touchscreen.tap(*place)
    else:
        page.mouse.click(*place)
