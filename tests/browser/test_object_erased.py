"""An object of scikit-image's photo of coins is selected with one click and erased, on every device."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data

from tests.browser.devices import ON_EVERY_DEVICE, point_at, press
from tests.browser.editor_page import generate, kept_generation, open_photo, written

pytestmark = pytest.mark.browser
COIN, BESIDE = np.s_[175:200, 335:358], np.s_[222:235, 325:365]
"""The middle of a coin, and the ground beside it."""


@ON_EVERY_DEVICE
def test_one_click_selects_an_object_and_erase_removes_it(page: Page, tmp_path: Path) -> None:
    coins = data.coins()
    open_photo(page, written(coins, tmp_path / "coins.png"))
    press(page, "Select an object")
    point_at(page, "#in-place", (345 / 384, 187 / 303))
    expect(page.locator("#photo-covered")).to_have_text(re.compile(r"^2\.\d % to repaint"))
    generate(page)
    stored = kept_generation(page)
    with Image.open(io.BytesIO(page.request.get(stored["images"][0]["url"]).body())) as image:
        result = np.asarray(image.convert("L")).astype(float)
    assert coins[COIN].mean() > 120
    assert result[COIN].mean() == pytest.approx(coins[BESIDE].mean(), abs=25)
