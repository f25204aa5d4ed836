"""“Describe the photo” fills the prompt, says by whom, and the browser's undo takes it back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Page, expect

from tests.browser.editor_page import close_settings, enter_prompt, more_settings, open_photo
from tests.support import tiny_models, tiny_vision_models
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision_models.saved(tmp_path_factory.mktemp("captioner") / "blip", "blip")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    tiny_models.saved(folder)
    installation = Installation(tmp_path_factory.mktemp("site"), DREAMLAYER_DIFFUSION_DEVICE="cpu")
    installation.migrate()
    installation.manage("add_model", "--family", "sd", "--from", str(folder), "tiny", "--label", "Tiny model")
    with installation.serving():
        yield installation


def test_the_photo_is_described_as_a_prompt_that_undo_takes_back(
    installed_page: Page, installation: Installation, captioner: Path, photo_file: Path
) -> None:
    page = installed_page
    button, prompt = page.get_by_role("button", name="Describe the photo"), page.locator("#prompt")
    message = page.locator("#described")
    open_photo(page, photo_file)
    enter_prompt(page, "a lawn")
    button.focus()
    page.keyboard.press("Enter")
    expect(prompt).to_have_value(re.compile("^a photo in "))
    expect(message).to_contain_text("no captioner is installed")
    page.keyboard.press("Control+z")
    expect(prompt).to_have_value("a lawn")
    expect(message).to_be_hidden()

    more_settings(page)
    page.get_by_label("Engine").select_option("quick-fill")
    expect(button).to_be_disabled()
    expect(button).to_have_attribute("title", "The chosen engine reads no prompt.")
    page.get_by_label("Engine").select_option("auto")
    expect(button).to_be_enabled()
    close_settings(page)

    installation.manage("pull_model", "--yes", "--from", str(captioner), "blip-base")
    page.reload()
    expect(page.locator("#photo-covered")).to_be_visible()
    expect(button).to_be_enabled()
    button.click()
    expect(message).to_contain_text("Described by BLIP base.")
    expect(prompt).not_to_have_value("a lawn")
