"""Several photos at once: from the editor or on the page of batches, with one mask for all or one each, to the ZIP."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.database import set_states
from tests.browser.devices import ON_A_PHONE_TOO, ON_EVERY_DEVICE, press
from tests.browser.editor_page import SIDE, Pixels, drop, paint_line, white_square, written
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture
def photos(photo: Pixels, tmp_path: Path) -> list[Path]:
    return [written(np.roll(photo, 20 * number, axis=1), tmp_path / f"photo {number}.png") for number in range(3)]


def downloaded(page: Page) -> dict[str, Pixels]:
    """The images of the ZIP by their names, once the batch is done."""
    expect(page.locator("#batch-progress")).to_be_hidden(timeout=120_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = [name for name in archive.namelist() if name != "manifest.json"]
        return {name: np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names}


def changed(result: Pixels, source: Path) -> np.ndarray:
    return np.any(result != np.asarray(Image.open(source)), axis=2)


@ON_EVERY_DEVICE
def test_photos_dropped_together_share_the_mask_that_is_painted_on_the_first(page: Page, photos: list[Path]) -> None:
    drop(page, "#stage", *photos)
    page.wait_for_url("**/batches/")
    submit = page.get_by_role("button", name="Remove from 3 photos")
    submit.click()
    expect(page.get_by_role("alert").filter(has_text="Choose a mask, or paint one on the first photo.")).to_be_visible()
    page.get_by_role("button", name="Paint it on the first photo").click()
    use = page.get_by_role("button", name="Use this mask for 3 photos")
    expect(use).to_be_visible()
    paint_line(page, from_left=0.4, to_left=0.6)
    use.click()
    page.wait_for_url("**/batches/")
    page.context.clear_cookies(name="csrftoken")  # its requests are repeated with a fresh one
    submit.click()
    page.wait_for_url("**/batches/*-*/")
    results = downloaded(page)
    assert sorted(results) == [photo.name for photo in photos]
    for photo in photos:
        where = changed(results[photo.name], photo)
        assert where.any()
        assert not where[: SIDE // 4].any(), "outside the mask nothing changes"
    expect(page.locator("#batch-items .badge")).to_have_text(["Finished"] * 3)
    expect(page.locator("#batch-counts")).to_have_text("3 finished")
    page.get_by_role("link", name="photo 1.png").click()
    page.wait_for_url("**/generations/*/")
    page.goto("/history/")
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_role("link", name="3 finished").first).to_be_visible()


@ON_A_PHONE_TOO
def test_each_photo_has_its_mask_by_its_name(page: Page, photos: list[Path], tmp_path: Path) -> None:
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[10:30, 10:30] = 255
    masks = [
        written(white_square(), tmp_path / "photo 0-mask.png"),
        written(corner, tmp_path / "Mask_photo 1.png"),
    ]
    other = tmp_path / "notes.png"
    other.write_bytes(b"no image")
    page.goto("/batches/")
    page.wait_for_selector("#new-batch[data-ready]")
    drop(page, "#new-batch", *photos, *masks, other)
    alerts = page.get_by_role("alert")
    expect(alerts.filter(has_text="“notes.png” cannot be read as an image")).to_be_visible()
    expect(page.get_by_label("One for each photo")).to_be_checked()
    page.get_by_role("button", name="Remove from 3 photos").click()
    expect(alerts.filter(has_text="1 of 3 photos have no mask, the first is “photo 2.png”.")).to_be_visible()
    page.get_by_role("button", name="Remove photo 2.png").click()
    page.get_by_role("button", name="Remove from 2 photos").click()
    page.wait_for_url("**/batches/*-*/")
    results = downloaded(page)
    assert sorted(results) == ["photo 0.png", "photo 1.png"]
    assert not changed(results["photo 0.png"], photos[0])[:40, :40].any()
    where = changed(results["photo 1.png"], photos[1])
    assert where[10:30, 10:30].any()
    assert not where[SIDE // 2 :].any()


@ON_A_PHONE_TOO
def test_failed_photos_say_why_and_are_tried_again(page: Page, site: Installation, photos: list[Path]) -> None:
    page.goto("/batches/")
    page.wait_for_selector("#new-batch[data-ready]")
    drop(page, "#new-batch", *photos)
    page.set_input_files("#batch-mask-input", written(white_square(), photos[0].parent / "hole.png"))
    press(page, "Remove from 3 photos")
    page.wait_for_url("**/batches/*-*/")
    expect(page.locator("#batch-counts")).to_have_text("3 finished", timeout=120_000)
    link = page.get_by_role("link", name="photo 1.png")
    address = link.get_attribute("href") or ""
    set_states(site, {"failed": address.split("/")[2]}, "The memory is full.")
    page.reload()
    expect(page.locator("#batch-counts")).to_have_text("2 finished, 1 without a result")
    expect(page.locator("#batch-items .badge.failed")).to_have_text("Failed")
    expect(link).to_contain_text("The memory is full.")
    assert sorted(downloaded(page)) == ["photo 0.png", "photo 2.png"]
    press(page, "Try the failed ones again")
    expect(page.locator("#batch-counts")).to_have_text("3 finished", timeout=120_000)
    expect(page.get_by_role("button", name="Try the failed ones again")).to_be_hidden()
    expect(page.get_by_text("The memory is full.")).to_be_hidden()
    results = downloaded(page)
    assert sorted(results) == [photo.name for photo in photos]
    assert changed(results["photo 1.png"], photos[1]).any()
