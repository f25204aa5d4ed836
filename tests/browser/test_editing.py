"""The pages with a model that edits by words: without a mask a prompt repaints the whole photo, or many of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Page, expect

from tests.browser.editor_page import (
    MS_TO_LOAD,
    Pixels,
    drop,
    enter_prompt,
    kept_generation,
    more_settings,
    open_photo,
    start,
    written,
)
from tests.support import tiny_models
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    scratch = tmp_path_factory.mktemp("tiny")
    tiny_models.saved(scratch / "klein", "flux2-klein")
    tiny_models.saved(scratch / "small")
    installation = Installation(tmp_path_factory.mktemp("site"), DREAMLAYER_DIFFUSION_DEVICE="cpu")
    installation.migrate()
    installation.manage_all(
        [
            ("add_model", slug, "--family", family, "--from", str(scratch / slug), "--label", slug)
            for slug, family in (("small", "sd"), ("klein", "flux2-klein"))
        ]
    )
    with installation.serving():
        yield installation


@pytest.fixture
def page(installed_page: Page) -> Page:
    return installed_page


def test_a_prompt_without_a_mask_edits_the_whole_photo(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    more_settings(page)
    page.get_by_label("Model", exact=True).select_option("klein")
    expect(page.locator("#generate")).to_be_disabled()
    enter_prompt(page, "make it winter")
    expect(page.locator("#photo-covered")).to_have_text("all to edit")

    page.get_by_label("Model", exact=True).select_option("small")  # which does not know what is to stay
    expect(page.locator("#generate")).to_be_disabled()
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")

    page.get_by_label("Model", exact=True).select_option("klein")
    expect(page.locator("#generate")).to_be_enabled()
    for name, value in (("Steps", "1"), ("Work width", "64"), ("Work height", "64")):
        page.get_by_label(name, exact=name == "Steps").fill(value)
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    generation = kept_generation(page)
    assert generation["metadata"]["model"] == "klein"
    assert not [warning for warning in generation["metadata"]["warnings"] if "mask" in warning]


def test_reference_images_are_offered_to_models_that_take_them(page: Page, photo: Pixels, photo_file: Path) -> None:
    open_photo(page, photo_file)
    more_settings(page)
    first, second = (page.locator(f"#reference-image{number}-field") for number in ("", "-2"))
    page.get_by_label("Model", exact=True).select_option("small")
    expect(first).to_be_hidden()
    page.get_by_label("Model", exact=True).select_option("klein")
    expect(first).to_be_visible()
    expect(second).to_be_hidden()
    look = written(255 - photo, photo_file.parent / "look.png")
    page.set_input_files("#reference-image-input", look)
    expect(first).to_contain_text("look.png")
    expect(second).to_be_visible()
    enter_prompt(page, "as in the other picture")
    for name, value in (("Steps", "1"), ("Work width", "64"), ("Work height", "64")):
        page.get_by_label(name, exact=name == "Steps").fill(value)
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    generation = kept_generation(page)
    assert generation["reference_image"].endswith("/reference-image/")
    assert not [warning for warning in generation["metadata"]["warnings"] if "reference" in warning]
    page.reload()
    more_settings(page)
    expect(first).to_contain_text("look.png")


def test_a_batch_without_masks_edits_each_photo_whole(
    page: Page, photo: Pixels, photo_file: Path, tmp_path: Path
) -> None:
    photos = [written(np.roll(photo, 20 * number, axis=1), tmp_path / f"photo {number}.png") for number in range(2)]
    open_photo(page, photo_file)
    more_settings(page)
    page.get_by_label("Model", exact=True).select_option("klein")
    enter_prompt(page, "make it winter")
    for name, value in (("Steps", "1"), ("Work width", "64"), ("Work height", "64")):
        page.get_by_label(name, exact=name == "Steps").fill(value)
    drop(page, "#stage", *photos)
    page.wait_for_url("**/batches/")
    page.wait_for_selector("#new-batch[data-ready]")
    expect(page.locator("#batch-mask-about")).to_contain_text("each photo is edited whole")
    prompt = page.get_by_label("What should be there?")
    prompt.fill("")
    page.get_by_role("button", name="Remove from 2 photos").click()
    expect(page.get_by_role("alert").filter(has_text="Choose a mask")).to_be_visible()
    prompt.fill("make it winter")
    page.get_by_role("button", name="Edit 2 photos").click()
    page.wait_for_url("**/batches/*-*/")
    expect(page.locator("#batch-counts")).to_have_text("2 finished", timeout=MS_TO_LOAD)
