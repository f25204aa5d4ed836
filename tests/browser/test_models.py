"""An administrator downloads a model by a button, follows the progress and removes it, on a real server."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright")
pytest.importorskip("huggingface_hub", reason="a light installation has no hub library")

from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Dialog, Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, watched_page
from tests.browser.editor_page import choose_task, enter_prompt, is_red, open_photo, paint_line
from tests.support.hub import REPO, UNET_FP16, Hub, serving, tiny_model, weights
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(tiny_model()) as hub:
        yield hub


@pytest.fixture
def installation(hub: Hub, tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, HF_ENDPOINT=hub.url, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    installation.migrate()
    installation.manage_all(
        [
            ("createsuperuser", "--noinput", "--email", "boss@example.org"),
            ("add_model", "tiny", "--family", "sd", "--from", REPO, "--label", "Tiny", "--variant", "fp16"),
        ]
    )
    with installation.serving():
        yield installation


@pytest.fixture
def page(browser: Browser, installation: Installation) -> Iterator[Page]:
    url = installation.url
    context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900})
    for page in watched_page(context):
        page.goto("/accounts/login/?next=/models/")
        page.get_by_label("Email").fill("boss@example.org")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
        page.locator(".all-models > summary").click()
        yield page


def test_the_button_downloads_a_model_and_the_page_shows_progress(
    page: Page, hub: Hub, installation: Installation
) -> None:
    hub.files[UNET_FP16] = weights(kilobytes=24 * 1024)
    hub.cuts[UNET_FP16] = [11_000_000, 1_000_000]
    questions: list[str] = []

    def answer(dialog: Dialog) -> None:
        questions.append(dialog.message)
        dialog.accept()

    page.on("dialog", answer)
    card = page.locator("#model-tiny")
    card.get_by_role("button", name="Get Tiny").click()
    expect(card.get_by_text("On its way")).to_be_visible()
    expect(card.get_by_text("Installed")).to_be_visible()
    assert "Get Tiny" in questions[0]
    assert (installation.folder / "models" / "tiny" / UNET_FP16).read_bytes() == hub.files[UNET_FP16]
    card.get_by_role("button", name="Remove files of Tiny").click()
    expect(card.get_by_text("Not installed")).to_be_visible()
    assert "Remove the files" in questions[1]
    assert not (installation.folder / "models" / "tiny").exists()


def test_the_page_fits_a_phone_and_shows_the_error(page: Page, hub: Hub) -> None:
    hub.lies[UNET_FP16] = weights(seed=77)
    page.set_viewport_size({"width": 390, "height": 844})
    page.on("dialog", lambda dialog: dialog.accept())
    card = page.locator("#model-tiny")
    card.get_by_role("button", name="Get Tiny").click()
    expect(card.get_by_text("is not what was promised")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_tip_of_an_untried_model_opens_by_key_and_fits_a_phone(page: Page) -> None:
    badge = page.get_by_role("button", name="Untried: SDXL base 1.0")
    tip = page.locator("#untried-sdxl")
    expect(tip).to_be_hidden()
    badge.press("Enter")
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 844})
    badge.click()
    expect(tip).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_one_click_gets_a_recommended_model_and_its_card_shows_what_happens(page: Page) -> None:
    page.goto("/models/")
    expect(page.get_by_role("heading", name="All models")).to_be_visible()
    expect(page.locator("#model-tiny")).to_be_hidden()
    page.get_by_label("For", exact=True).select_option("gpu24")
    expect(page.get_by_role("button", name="Get SDXL inpainting 0.1")).to_be_visible()
    page.goto("/welcome/")
    page.get_by_role("button", name="Get LaMa").click()  # an unexpected dialog is dismissed: nothing would be sent
    card = page.locator("#recommended-erase")
    expect(card).to_contain_text("The hub has no Carve/LaMa-ONNX")
    expect(card.get_by_role("button", name="Try again to get LaMa")).to_be_visible()
    expect(page.locator("#model-tiny")).to_be_hidden()


def test_replace_without_a_model_gets_a_recommended_one_and_goes_on(page: Page, hub: Hub, photo_file: Path) -> None:
    pytest.importorskip("torch", reason="diffusion is not installed")
    hub.repo = "stable-diffusion-v1-5/stable-diffusion-inpainting"
    hub.files[UNET_FP16] = weights(kilobytes=24 * 1024)
    hub.cuts[UNET_FP16] = [11_000_000, 1_000_000]
    page.goto("/")
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    choose_task(page, "Replace")
    page.get_by_role("button", name="Replace", exact=True).click()
    dialog = page.get_by_role("dialog", name="Which model should I get?")
    expect(dialog.locator(".model")).to_have_count(3)
    assert violations(page) == []
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("link", name="choose a model").click()
    card = dialog.locator("#recommended-diffusion")
    card.get_by_role("button", name="Get Stable Diffusion 1.5 inpainting").click()
    expect(card.get_by_role("progressbar")).to_be_visible()
    expect(dialog.get_by_role("button", name="Use it now")).to_be_hidden()
    expect(card.get_by_text("Installed")).to_be_visible()
    dialog.get_by_role("button", name="Get LaMa").click()
    expect(dialog.locator("#recommended-erase")).to_contain_text("The hub has no Carve/LaMa-ONNX")
    dialog.get_by_role("button", name="Use it now").click()
    enter_prompt(page, "a red bus")
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    assert is_red(page)
    expect(page.locator("#generate")).to_have_text("Replace")
    expect(page.locator("#generate")).to_be_enabled()
