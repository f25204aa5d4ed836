"""The walks of a newcomer, at desktop and phone size; benchmarks/walks.py measures them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.walks import LARGE, cover_large_photo, erase_from_own_photo, erase_from_sample, large_photo
from tests.installation import Installation

pytestmark = pytest.mark.browser
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(params=SCREENS)
def newcomer(browser: Browser, site: Installation, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page without a session."""
    yield from watched_page(browser.new_context(base_url=site.url, **SCREENS[request.param]))


def test_an_object_is_erased_from_the_sample_and_from_a_photo_of_ones_own(newcomer: Page, photo_file: Path) -> None:
    erase_from_sample(newcomer)
    erase_from_own_photo(newcomer, photo_file)
    expect(newcomer.locator("#figure-outside")).to_have_text("0")


def test_six_strokes_cover_a_photo_of_24_megapixels(newcomer: Page, tmp_path: Path) -> None:
    sign_up(newcomer)
    cover_large_photo(newcomer, large_photo(tmp_path / "large.jpg"))
    expect(newcomer.locator("#generate")).to_be_enabled()
    newcomer.get_by_role("button", name="More for the mask").click()
    with newcomer.expect_download() as download:
        newcomer.get_by_role("button", name="Download", exact=True).click()
    with Image.open(download.value.path()) as mask:
        assert mask.size == LARGE
        assert not np.asarray(mask).any(), "black is repainted"
