"""The pages with the safety checker enabled, for the owner of a generation and for a reviewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="a light installation has no safety checker")

from playwright.sync_api import Browser, expect

from tests.browser.conftest import PASSWORD, watched_page
from tests.browser.devices import ON_A_PHONE_TOO, Device
from tests.browser.editor_page import close_settings, more_settings, open_details, open_photo, paint_line, start
from tests.support import tiny_checker
from tests.support.installation import Installation

pytestmark = pytest.mark.browser
SENTENCE = "Hidden by the safety checker"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that pixelates flagged results, with a checker that flags every image."""
    folder = tiny_checker.saved(tmp_path_factory.mktemp("tiny"), tiny_checker.suspicious())
    installation = Installation(
        tmp_path_factory.mktemp("site"), DREAMLAYER_SAFETY_CHECKER="pixelate", DJANGO_SUPERUSER_PASSWORD=PASSWORD
    )
    installation.migrate()
    installation.manage_all(
        [
            ("createsuperuser", "--noinput", "--email", "boss@example.org"),
            ("pull_model", "safety-checker", "--yes", "--from", str(folder)),
        ]
    )
    with installation.serving():
        yield installation


@ON_A_PHONE_TOO
def test_the_owner_reads_the_reason_and_a_reviewer_sees_the_image_after_a_click(
    browser: Browser, installation: Installation, photo_file: Path, device: Device
) -> None:
    context = device.context(browser, base_url=installation.url)
    for page in watched_page(context):
        page.goto("/accounts/login/")
        page.get_by_label("Email").fill("boss@example.org")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        open_photo(page, photo_file)
        paint_line(page, from_left=0.48, to_left=0.52)
        more_settings(page)
        kinds = page.get_by_label("Safety checker")
        assert kinds.locator("option").all_text_contents() == [
            "As on this site: Pixelate what it finds",
            "Black instead",
            "Grey with a sentence instead",
        ]
        kinds.select_option("black")
        expect(page.locator("#more-set")).to_have_text("Safety checker")
        close_settings(page)  # on a phone they cover the button
        start(page)
        expect(page.locator("#result")).to_be_visible(timeout=60_000)
        expect(page.locator("#result-hidden")).to_contain_text(SENTENCE)
        expect(page.locator("#figure-outside")).to_have_text("0")
        open_details(page)
        expect(page.locator(".message.warning")).to_contain_text(SENTENCE)
        expect(page.locator(".recipe")).to_contain_text("black")
        number = page.url.rstrip("/").rpartition("/")[2]
        page.get_by_role("link", name="Open in editor").click()
        expect(page.get_by_label("Safety checker", exact=True)).to_have_value("black")
        page.goto(f"/admin/inpainting/generation/{number}/change/")
        unhidden = page.get_by_alt_text("Result as it was painted")
        expect(unhidden).to_have_count(0)
        expect(page.locator(".unhide")).to_contain_text("Hidden by black")
        page.get_by_role("link", name="Show it as it was painted").click()
        assert unhidden.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 0
