"""The walks of a newcomer, at desktop and phone size; benchmarks/walks.py measures them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_up
from tests.browser.walks import LARGE, cover_large_photo, erase_from_own_photo, erase_from_sample, large_photo

pytestmark = pytest.mark.browser
ON_A_DESKTOP_AND_A_PHONE = pytest.mark.parametrize("device", ["desktop", "phone"], indirect=True)


@ON_A_DESKTOP_AND_A_PHONE
def test_an_object_is_erased_from_the_sample_and_from_a_photo_of_ones_own(visitor: Page, photo_file: Path) -> None:
    erase_from_sample(visitor)
    erase_from_own_photo(visitor, photo_file)
    expect(visitor.locator("#figure-outside")).to_have_text("0")


@ON_A_DESKTOP_AND_A_PHONE
def test_six_strokes_cover_a_photo_of_24_megapixels(visitor: Page, tmp_path: Path) -> None:
    sign_up(visitor)
    cover_large_photo(visitor, large_photo(tmp_path / "large.jpg"))
    expect(visitor.locator("#generate")).to_be_enabled()
    visitor.get_by_role("button", name="More for the mask").click()
    with visitor.expect_download() as download:
        visitor.get_by_role("button", name="Download", exact=True).click()
    with Image.open(download.value.path()) as mask:
        assert mask.size == LARGE
        assert not np.asarray(mask).any(), "black is repainted"
