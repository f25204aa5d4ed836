"""Photos that no browser can show, as TIFF and HEIC: the editor and the batches show the server's copy of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from inpainting.core.codecs import decode_image
from tests.browser.editor_page import Pixels, drop, generate, is_red, paint_line
from tests.core import heifs, tiffs

pytestmark = pytest.mark.browser


@pytest.fixture
def files(photo: Pixels, tmp_path: Path) -> dict[str, Path]:
    """The photo with 16 bits a channel as TIFF, and as HEIC, for which Chromium knows no type."""
    data = {
        "astronaut.tif": tiffs.by_tifffile(photo.astype(np.uint16) * 257 + 3, photometric="rgb"),
        "IMG_1.HEIC": heifs.heic(photo),
    }
    for name, body in data.items():
        (tmp_path / name).write_bytes(body)
    return {name: tmp_path / name for name in data}


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["astronaut.tif", "IMG_1.HEIC"])
def test_it_is_shown_painted_on_and_kept(page: Page, files: dict[str, Path], photo: Pixels, name: str) -> None:
    page.wait_for_selector("#editor[data-ready]")
    drop(page, "#stage", files[name])
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#photo-name")).to_have_text(name)
    paint_line(page, from_left=0.45, to_left=0.55)
    assert is_red(page)
    generate(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    result = decode_image(download.value.path().read_bytes()).image
    source = decode_image(files[name].read_bytes()).image
    assert result.pixels.dtype == source.pixels.dtype, "the file itself is painted on, not the copy that is shown"
    outside = np.s_[: photo.shape[0] // 4]
    assert np.array_equal(result.pixels[outside], source.pixels[outside])
    assert not np.array_equal(result.pixels, source.pixels)
    page.goto("/")  # the draft
    expect(page.locator("#photo-name")).to_have_text(name)
    expect(page.locator("#photo-message")).to_be_hidden()


def test_what_the_server_cannot_read_either_is_refused_with_its_sentence(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(tiffs.photo_tiff({259: (3, 5)}))
    page.wait_for_selector("#editor[data-ready]")
    drop(page, "#stage", tmp_path / "broken.tif")
    expect(page.locator("#photo-message")).to_contain_text("is damaged")
    (tmp_path / "raw.tif").write_bytes(tiffs.photo_tiff({50706: (1, b"\1\4\0\0")}))
    drop(page, "#stage", tmp_path / "raw.tif")
    expect(page.locator("#photo-message")).to_contain_text("a camera's raw file; export it as TIFF, PNG or JPEG")


def test_it_may_be_in_a_batch(page: Page, files: dict[str, Path]) -> None:
    page.goto("/batches/")
    page.set_input_files("#batch-input", list(files.values()))
    expect(page.locator("#batch-photos li")).to_have_count(2)
    expect(page.locator("#batch-files-message")).to_be_hidden()
