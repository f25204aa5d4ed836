"""Objects of scikit-image's photos: one click selects a coin, which is erased; smaller and larger masks of a cup."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data

from tests.browser.devices import ON_A_PHONE_TOO, ON_EVERY_DEVICE, point_at, press
from tests.browser.editor_page import generate, kept_generation, open_photo, overlay_colour, written

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


@ON_A_PHONE_TOO
def test_smaller_and_larger_masks_take_the_place_of_what_a_click_selects_as_one_step_of_undo(
    page: Page, tmp_path: Path
) -> None:
    open_photo(page, written(data.coffee(), tmp_path / "coffee.png"))
    covered, sizes = page.locator("#photo-covered"), page.get_by_role("group", name="Size of the selection")
    smaller, larger = (sizes.get_by_role("button", name=name) for name in ("Smaller", "Larger"))
    press(page, "Select an object")
    expect(sizes).to_be_hidden()
    point_at(page, "#in-place", (150 / 600, 250 / 400))
    expect(smaller).to_be_enabled()
    seen = [selected(page)]
    smaller.click()
    expect(covered).not_to_have_text(seen[0])
    expect(smaller).to_be_disabled()
    seen.insert(0, selected(page))
    page.keyboard.press(".")
    page.keyboard.press(".")  # at once: the second press counts from the first
    expect(larger).to_be_disabled()
    expect(covered).not_to_have_text(seen[0])
    seen.append(selected(page))
    assert sorted(seen, key=percent) == seen
    assert len(set(seen)) == 3

    press(page, "Undo")
    expect(covered).to_have_text("nothing to repaint yet")
    expect(sizes).to_be_hidden()
    press(page, "Redo")
    expect(covered).to_have_text(seen[2])
    page.keyboard.press(",")
    expect(covered).to_have_text(seen[1])
    press(page, "Invert")
    expect(sizes).to_be_hidden()


def selected(page: Page) -> str:
    """The text of what is selected, once the mask is drawn."""
    overlay_colour(page)
    return page.locator("#photo-covered").inner_text()


def percent(text: str) -> float:
    return float(text.removesuffix(" % to repaint"))
