"""The editor with an erase model and without a diffusion model: the network is tiny; no part is mocked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

from playwright.sync_api import Browser, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.editor_page import more_settings, open_photo, paint_line, start
from tests.support import tiny_networks
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("tiny")
    path, other = folder / "tiny.onnx", folder / "other.onnx"
    path.write_bytes(tiny_networks.lama())
    other.write_bytes(tiny_networks.migan())
    installation = Installation(tmp_path_factory.mktemp("site"))
    installation.migrate()
    installation.manage_all(
        [
            ("add_model", "tiny", "--family", "lama", "--from", str(path)),
            ("add_model", "other", "--family", "migan", "--from", str(other)),
        ]
    )
    with installation.serving():
        yield installation


def test_auto_selects_erase_names_it_and_disables_ignored_settings(
    browser: Browser, installation: Installation, photo_file: Path
) -> None:
    context = browser.new_context(base_url=installation.url)
    for page in watched_page(context):
        sign_up(page)
        engine = page.get_by_label("Engine")
        expect(engine.locator("option").first).to_have_text("Auto (Erase)")
        expect(page.locator("#ignored-reason")).to_have_text("Erase does not read it.")
        open_photo(page, photo_file)
        paint_line(page, from_left=0.48, to_left=0.52)
        more_settings(page)
        for name, is_read in (("seed", False), ("steps", False), ("num_images", True), ("mask_grow", True)):
            field = page.locator(f"[name={name}]")
            expect(field).to_be_enabled() if is_read else expect(field).to_be_disabled()
        start(page)
        expect(page.locator("#result")).to_be_visible(timeout=60_000)
        expect(page.locator("#figure-engine")).to_have_text("Erase · tiny")
        expect(page.locator("#figure-outside")).to_have_text("0")
        again = page.get_by_role("button", name="Try again")
        again.click()
        expect(page.locator("#figure-engine")).to_have_text("Quick fill", timeout=60_000)
        page.get_by_label("Erases with").select_option(label="other")
        again.click()
        expect(page.locator("#figure-engine")).to_have_text("Erase · other", timeout=60_000)
        again.click()
        expect(page.locator("#progress")).to_be_visible()
        expect(page.locator("#progress")).to_be_hidden(timeout=60_000)
        expect(page.locator("#figure-engine")).to_have_text("Erase · other")
        engine.select_option("quick-fill")
        expect(page.get_by_label("Erases with")).to_be_hidden()
