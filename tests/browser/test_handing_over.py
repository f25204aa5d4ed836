"""A result is handed to another program: dragged out of the page, or by the share sheet of a phone."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.devices import press
from tests.browser.editor_page import SIDE, Pixels, generate, kept_generation, open_photo, paint_line

pytestmark = pytest.mark.browser

SHARED = """
window.shared = []
Object.assign(navigator, {
    canShare: ({ files }) => files.every(({ type }) => type === (window.accepted ?? "image/png")),
    share: async ({ files: [file] }) => {
        shared.push([file.name, file.type, [...new Uint8Array(await file.arrayBuffer())]])
        if (window.refused) throw new DOMException("the sheet was closed", "AbortError")
    },
})
"""

SHARED_FILES = """async (count) => {
    while (shared.length < count) await new Promise((next) => setTimeout(next, 20))
    return shared
}"""


def erased(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)


def stored_result(page: Page) -> Pixels:
    (image,) = kept_generation(page)["images"]
    return np.asarray(Image.open(io.BytesIO(page.request.get(image["url"]).body())))


def test_the_result_is_dragged_into_a_folder(page: Page, photo_file: Path) -> None:
    erased(page, photo_file)
    page.evaluate(
        """document.addEventListener("dragstart", ({ dataTransfer }) => {
            window.dragged = dataTransfer.getData("DownloadURL")
        })"""
    )
    box = page.locator("#download").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(600, 300, steps=4)
    page.mouse.up()
    media_type, name, address = page.evaluate("dragged").split(":", 2)
    assert (media_type, name) == ("image/png", "astronaut-2.png")
    assert urlsplit(address).netloc == urlsplit(page.url).netloc, "the whole address, as a file manager needs it"
    with Image.open(io.BytesIO(page.request.get(address).body())) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), stored_result(page))


@pytest.mark.parametrize("device", ["phone"], indirect=True)
def test_a_phone_shares_the_result_as_a_file(page: Page, photo_file: Path) -> None:
    page.add_init_script(SHARED)
    page.reload()
    erased(page, photo_file)
    press(page, "More ways to download")
    press(page, "Share…")
    ((name, media_type, content),) = page.evaluate(SHARED_FILES, 1)
    assert (name, media_type) == ("astronaut-2.png", "image/png")
    with Image.open(io.BytesIO(bytes(content))) as image:
        assert image.size == (SIDE, SIDE)
        assert np.array_equal(np.asarray(image), stored_result(page))
    page.evaluate("window.refused = true")
    press(page, "Share…")
    page.evaluate(SHARED_FILES, 2)  # an error of the page would fail the fixture


@pytest.mark.parametrize("able", ["nothing", "other files"])
def test_where_no_images_can_be_shared_no_button_is_shown(page: Page, photo_file: Path, able: str) -> None:
    without = "Object.defineProperty(navigator, 'canShare', { value: undefined })"
    page.add_init_script(without if able == "nothing" else f"{SHARED}\nwindow.accepted = 'text/plain'")
    page.reload()
    erased(page, photo_file)
    press(page, "More ways to download")
    expect(page.get_by_role("button", name="Copy the image")).to_be_visible()
    expect(page.get_by_role("button", name="Share…")).to_be_hidden()
