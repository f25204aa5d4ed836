"""The mask on the stage: how it is shown, photos of 24 megapixels, phones, and undo over several photos."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.conftest import watched_page
from tests.browser.devices import ON_EVERY_DEVICE, press
from tests.browser.editor_page import is_red, open_photo, paint_line, written
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

# mask: of a blue photo that fills the stage of 600 x 400 CSS pixels; at(canvas, x, y): RGBA of one of these pixels
STAGE = """async ([width, height]) => {
    const modules = await Promise.all(["view/mask_view", "document/operations"].map((name) => import(`editor/${name}`)))
    const canvases = "<canvas id=photo></canvas><canvas id=overlay></canvas>"
    document.body.insertAdjacentHTML("beforeend", `<div id=s>${canvases}</div>`)
    const [surface, photo, overlay] = ["s", "photo", "overlay"].map((id) => document.getElementById(id))
    Object.assign(surface.style, { position: "fixed", width: "600px", height: "400px" })
    const canvas = new OffscreenCanvas(width, height)
    const context = canvas.getContext("2d")
    context.fillStyle = "rgb(0, 0, 255)"
    context.fillRect(0, 0, width, height)
    const file = await canvas.convertToBlob({ type: "image/jpeg" })
    const answers = []
    const mask = new modules[0].MaskView({ surface, photo, overlay }, { onDrawn: (drawn) => answers.push(drawn) })
    mask.open(await createImageBitmap(file), { width, height, shown: file })
    mask.setViewport({ scale: 600 / width, left: 0, top: 0 })
    const at = async (canvas, x, y) => {
        const frame = () => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))
        await mask.drawn()
        await frame()
        const density = canvas.width / 600
        return [...canvas.getContext("2d").getImageData(Math.floor(x * density), Math.floor(y * density), 1, 1).data]
    }
    Object.assign(window, { mask, at, photo, overlay, answers, m: modules[1] })
}"""


@pytest.fixture
def stage(browser: Browser, site: Installation, signed_up: StorageState) -> Iterator[Callable[..., Page]]:
    """stage(width, height, **context) -> a page with the mask of a photo of this size."""
    pages = []

    def opened(width: int, height: int, **options: Any) -> Page:
        context = browser.new_context(base_url=site.url, storage_state=signed_up, **options)
        watched = watched_page(context)
        page = next(watched)
        pages.append(watched)
        page.goto("/keys/")
        page.evaluate(STAGE, [width, height])
        return page

    yield opened
    for watched in pages:
        next(watched, None)


def test_the_mask_is_shown_as_overlay_outline_or_alone_at_any_zoom(stage: Callable[..., Page]) -> None:
    page = stage(1200, 800)
    seen = page.evaluate(
        """async () => {
            mask.show([m.shape({ shape: "rectangle", points: [[400, 200], [800, 600]] })]) // here half as large
            const seen = {}
            for (const mode of ["overlay", "outline", "alone"]) {
                mask.mode = mode
                seen[mode] = [await at(overlay, 300, 200), await at(overlay, 199, 200), await at(overlay, 100, 200)]
            }
            mask.mode = "overlay"
            mask.setViewport({ scale: 4, left: -4 * 790, top: -4 * 590 }) // the corner is at [40, 40]
            seen.zoomed = [await at(overlay, 39, 39), await at(overlay, 41, 39), await at(overlay, 39, 41)]
            mask.show([])
            seen.undone = await at(overlay, 39, 39)
            return seen
        }"""
    )
    nothing, black, white = [0, 0, 0, 0], [0, 0, 0, 255], [255, 255, 255, 255]
    red = pytest.approx([255, 45, 70, 140], abs=2)
    assert seen["overlay"] == [red, nothing, nothing]
    assert seen["outline"][0] == seen["outline"][2] == nothing
    assert seen["outline"][1][3] > 200
    assert seen["alone"] == [black, white, white]
    assert seen["zoomed"] == [red, nothing, nothing]
    assert seen["undone"] == nothing


def test_a_change_of_the_whole_screen_reaches_the_page_in_parts(stage: Callable[..., Page]) -> None:
    page = stage(1200, 800, device_scale_factor=2)  # 5 x 4 display tiles
    seen, counts = page.evaluate(
        """async () => {
            const { Painter } = await import("editor/view/painter")
            await mask.drawn()
            const counts = [], { take } = Painter.prototype
            Painter.prototype.take = function (level, patches) {
                counts.push(patches.length)
                take.call(this, level, patches)
            }
            mask.show([m.shape({ shape: "ellipse", points: [[0, 0], [1200, 800]] })])
            const places = [[130, 100], [470, 100], [300, 200], [130, 300], [470, 300], [2, 2], [598, 398]]
            const seen = []
            for (const [x, y] of places) seen.push((await at(overlay, x, y))[3] > 0)
            return [seen, counts]
        }"""
    )
    assert seen == [True] * 5 + [False] * 2
    assert sum(counts) >= 12
    assert max(counts) <= 4


@pytest.mark.parametrize("phone", [False, True])
def test_a_photo_of_24_megapixels_has_a_mask_of_its_size_at_once(stage: Callable[..., Page], phone: bool) -> None:
    """The stroke that grew is not drawn again, the file has all operations, and a phone shows a smaller photo."""
    page = stage(6000, 4000, **({"is_mobile": True, "has_touch": True} if phone else {}))
    encoded, photo, answers = page.evaluate(
        """async () => {
            const points = [[1000, 1000, 1], [3000, 1000, 1], [3000, 3000, 1]]
            mask.begin(m.stroke({ size: 1000, points: points.slice(0, 1) }))
            mask.extend(points.slice(1, 2))
            mask.extend(points.slice(2))
            mask.end()
            await mask.drawn()
            const before = answers.length
            const stroke = m.stroke({ size: 1000, points })
            mask.show([stroke])
            await mask.drawn()
            const redrawn = answers.length - before
            for (let pixels = 1; pixels < 30; pixels++) mask.show([stroke, m.grow(pixels)]) // as a slider does
            const bytes = new Uint8Array(await (await mask.png()).arrayBuffer())
            const encoded = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""))
            return [encoded, await at(photo, 300, 200), [redrawn, answers.length - before]]
        }"""
    )
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        mask = np.asarray(image)
    assert mask.shape == (4000, 6000)
    assert mask[1000, 471] == mask[1000, 529] == mask[3528, 3000] == 0  # a radius of 500, grown by 29
    assert mask[1000, 469] == mask[3531, 3000] == 255
    assert photo == pytest.approx([0, 0, 255, 255], abs=3)
    assert answers[0] == 0
    assert answers[1] <= 3


@ON_EVERY_DEVICE
def test_undo_returns_to_the_photo_before_with_its_mask(page: Page, photo_file: Path, tmp_path: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    assert is_red(page)
    page.set_input_files("#photo-input", written(np.full((80, 120, 3), 200, np.uint8), tmp_path / "wall.png"))
    expect(page.locator("#photo-name")).to_have_text("wall.png")
    assert not is_red(page)
    press(page, "Undo")
    expect(page.locator("#photo-name")).to_have_text("astronaut.png")
    assert is_red(page)
    press(page, "Redo")
    expect(page.locator("#photo-name")).to_have_text("wall.png")
    assert not is_red(page)
