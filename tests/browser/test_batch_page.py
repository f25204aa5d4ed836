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
from tests.browser.editor_page import SIDE, Pixels, drop, is_red, paint_line, photo_box, white_square, written
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
def test_photos_are_enlarged_without_masks(page: Page, photos: list[Path]) -> None:
    drop(page, "#stage", *photos)
    page.wait_for_url("**/batches/")
    page.get_by_role("radio", name="Enlarge").check()
    expect(page.get_by_role("group", name="Mask")).to_be_hidden()
    expect(page.get_by_role("button", name="Paint the mask")).to_have_count(0)
    page.get_by_label("How many times larger").select_option("1.5 times")
    page.get_by_role("button", name="Enlarge 3 photos").click()
    page.wait_for_url("**/batches/*-*/")
    results = downloaded(page)
    assert sorted(results) == [photo.name for photo in photos]
    for photo in photos:
        height, width = np.asarray(Image.open(photo)).shape[:2]
        assert results[photo.name].shape[:2] == (1.5 * height, 1.5 * width)


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


@ON_A_PHONE_TOO
def test_the_mask_of_one_photo_is_painted_in_the_editor_and_all_that_was_entered_is_there_again(
    page: Page, photos: list[Path], tmp_path: Path
) -> None:
    ready = "#new-batch[data-ready]"
    page.goto("/batches/")
    page.wait_for_selector(ready)
    drop(page, "#new-batch", *photos, written(white_square(), tmp_path / "photo 0-mask.png"))
    page.get_by_label("One for each photo").check()
    prompt = page.locator("#batch-prompt")  # hidden without a model that reads it
    prompt.evaluate("field => { field.value = 'a lawn' }")
    items = page.locator("#batch-photos li")
    press(page, "Paint its mask: photo 1.png")
    use = page.get_by_role("button", name="Use this mask for this photo")
    expect(page.locator("#photo-name")).to_have_text("photo 1.png")
    expect(page.locator("#generate")).to_be_hidden()
    use.click()
    expect(page.get_by_role("alert").filter(has_text="Paint over something first.")).to_be_visible()
    bar, photo = page.locator("#batch-bar").bounding_box(), photo_box(page)
    assert bar is not None
    assert bar["y"] + bar["height"] <= photo["y"], "the photo is below the bar"
    paint_line(page, from_left=0.1, to_left=0.2, down=0.1)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#generate-message")).to_have_text("Paint the mask, then take it back to the batch.")
    use.click()
    page.wait_for_url("**/batches/")
    page.wait_for_selector(ready)
    expect(items).to_have_count(3)
    expect(items.nth(1)).to_contain_text("painted mask")
    expect(page.get_by_label("One for each photo")).to_be_checked()
    expect(page.locator("#batch-polarity")).to_have_value("white_repaints")
    expect(prompt).to_have_value("a lawn")
    press(page, "Edit its mask: photo 0.png")
    expect(use).to_be_visible()
    assert is_red(page), "the mask of the file is there"
    assert not is_red(page, 0.1, 0.1)
    page.get_by_role("link", name="Back to the batch").click()
    page.wait_for_selector(ready)
    expect(items.nth(0)).to_contain_text("photo 0-mask.png")
    expect(items.nth(1)).to_contain_text("painted mask")
    expect(prompt).to_have_value("a lawn")
    press(page, "Remove photo 2.png")
    page.locator("#batch-submit").click()
    page.wait_for_url("**/batches/*-*/")
    results = downloaded(page)
    first, second = (changed(results[photo.name], photo) for photo in photos[:2])
    assert first[SIDE // 2 - 10 : SIDE // 2 + 10, SIDE // 2 - 10 : SIDE // 2 + 10].any()
    assert not first[:40].any()
    assert second[:40].any(), "its polarity is turned to that of the file"
    assert not second[SIDE // 2 - 10 :].any()


def test_the_prompt_survives_when_the_mask_of_all_is_painted_and_a_photo_may_have_its_own(
    page: Page, photos: list[Path]
) -> None:
    page.goto("/batches/")
    page.wait_for_selector("#new-batch[data-ready]")
    drop(page, "#new-batch", *photos)
    page.locator("#batch-prompt").evaluate("field => { field.value = 'a lawn' }")
    press(page, "Paint it on the first photo")
    expect(page.get_by_role("button", name="Use this mask for 3 photos")).to_be_visible()
    paint_line(page, from_left=0.4, to_left=0.6)
    press(page, "Use this mask for 3 photos")
    page.wait_for_url("**/batches/")
    expect(page.locator("#batch-prompt")).to_have_value("a lawn")
    expect(page.get_by_label("One for all photos")).to_be_checked()
    press(page, "Edit its mask: photo 2.png")
    use = page.get_by_role("button", name="Use this mask for this photo")
    expect(use).to_be_visible()
    assert is_red(page), "the mask of all"
    press(page, "Clear")
    paint_line(page, from_left=0.4, to_left=0.6, down=0.1)
    use.click()
    page.wait_for_url("**/batches/")
    expect(page.locator("#batch-photos li").nth(2)).to_contain_text("painted mask")
    page.locator("#batch-submit").click()
    page.wait_for_url("**/batches/*-*/")
    results = downloaded(page)
    shared, own = (changed(results[photo.name], photo) for photo in photos[1:])
    assert shared[SIDE // 2].any()
    assert not shared[: SIDE // 4].any()
    assert own[: SIDE // 4].any()
    assert not own[SIDE // 2].any()
