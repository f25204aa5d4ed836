"""Objects are found by words and erased, on an installation with a small Grounding DINO and a small MobileSAM."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Page, expect

from tests.browser.devices import press
from tests.browser.editor_page import generate, kept_generation, open_photo, written
from tests.support import tiny_mobile_sam, tiny_vision_models
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    scratch = tmp_path_factory.mktemp("networks")
    detector = tiny_vision_models.saved(scratch / "detector", "grounding-dino")
    outliner = tiny_mobile_sam.saved(scratch / "outliner")
    installation = Installation(tmp_path_factory.mktemp("site"))
    installation.migrate()
    pull = ("pull_model", "--yes", "--from")
    installation.manage_all([(*pull, str(detector), "grounding-dino-tiny"), (*pull, str(outliner), "mobile-sam")])
    with installation.serving():
        yield installation


def test_words_select_an_object_as_one_step_of_undo_and_erase_removes_it(installed_page: Page, tmp_path: Path) -> None:
    page, coins = installed_page, data.coins()
    open_photo(page, written(coins, tmp_path / "coins.png"))
    page.keyboard.press("a")
    words, covered = page.get_by_label("Words"), page.locator("#photo-covered")
    words.fill("the red cup")
    words.press("Enter")
    expect(covered).to_contain_text("% to repaint")
    share = covered.inner_text()
    expect(page.locator("#tool-message")).to_have_text("")
    page.keyboard.press("Escape")
    page.locator("#surface").focus()
    page.keyboard.press("Control+z")
    expect(covered).to_have_text("nothing to repaint yet")
    page.keyboard.press("Control+Shift+z")
    expect(covered).to_have_text(share)
    generate(page)
    stored = kept_generation(page)
    with Image.open(io.BytesIO(page.request.get(stored["mask"]).body())) as image:
        mask = np.asarray(image.convert("L"))
    with Image.open(io.BytesIO(page.request.get(stored["images"][0]["url"]).body())) as image:
        result = np.asarray(image.convert("L"))
    assert 0.001 < (mask > 127).mean() < 0.5
    assert not np.array_equal(result[mask > 127], coins[mask > 127])
    assert np.array_equal(result[mask == 0], coins[mask == 0])


@pytest.mark.parametrize("device", ["phone"], indirect=True)
def test_on_a_phone_words_select_an_object(installed_page: Page, tmp_path: Path) -> None:
    page = installed_page
    open_photo(page, written(data.coins(), tmp_path / "coins.png"))
    press(page, "Select an object")
    page.get_by_label("Words").fill("the red cup")
    page.locator("#tool-words-find").tap()
    expect(page.locator("#photo-covered")).to_contain_text("% to repaint")
