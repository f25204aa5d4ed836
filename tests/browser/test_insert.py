"""The editor's image to insert: chosen, shown over the photo, placed by pointer and keys, cloned, kept and reopened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page, expect
from skimage import data

from inpainting.core.codecs import decode_image
from tests.browser.conftest import empty_draft
from tests.browser.devices import ON_A_PHONE_TOO, drag_over
from tests.browser.editor_page import (
    Pixels,
    choose_task,
    drop,
    generate,
    kept_generation,
    open_photo,
    overlay_colour,
    paint_line,
    photo_box,
    stored_mask,
    written,
)

pytestmark = pytest.mark.browser

GREEN = (0, 160, 60)
NAMES = ("insert_x", "insert_y", "insert_width", "insert_rotation")


@pytest.fixture
def insert(tmp_path: Path) -> Path:
    """Green with a darker half at the right, twice as wide as tall."""
    pixels = np.full((60, 120, 3), GREEN, np.uint8)
    pixels[:, 60:] //= 2
    return written(pixels, tmp_path / "lawn.png")


@pytest.fixture
def marked(page: Page, photo_file: Path) -> Page:
    """A photo with a horizontal line that is marked, in the task that replaces it."""
    open_photo(page, photo_file)
    choose_task(page, "Replace")
    paint_line(page, from_left=0.4, to_left=0.6)
    return page


def choose(page: Page, path: Path) -> None:
    page.get_by_role("button", name="Insert an image").first.click()
    page.get_by_label("Image to insert", exact=True).set_input_files(path)
    expect(page.locator("#insert-panel")).to_be_hidden()
    expect(page.locator("#surface")).to_have_attribute("data-tool", "insert")


def options(page: Page) -> None:
    """Open the panel of the insert."""
    if page.locator("#insert-panel").is_hidden():
        page.locator("#insert-options").click()
    expect(page.locator("#insert-panel")).to_be_visible()


def place_shown(page: Page) -> dict[str, float]:
    """Where the insert lies: what is entered, else what is used in its place."""
    inputs = {name: page.locator(f"[name={name}]") for name in NAMES}
    shown = {name: field.input_value() or field.get_attribute("placeholder") for name, field in inputs.items()}
    return {name: float(value or "nan") for name, value in shown.items()}


def entered(page: Page) -> list[str]:
    return [page.locator(f"[name={name}]").input_value() for name in NAMES]


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """A point of the photo as a place of the page."""
    box = photo_box(page)
    return box["x"] + x * box["width"] / 256, box["y"] + y * box["height"] / 256


def is_green(page: Page, x: float, y: float) -> tuple[bool, int]:
    """Whether the overlay is the insert at a point of the photo, and how opaque."""
    red, green, blue, alpha = overlay_colour(page, x / 256, y / 256)
    return green > red + 30 and green > blue + 30, alpha


def plan_of(page: Page) -> dict[str, Any]:
    """The place that the server gives an insert without settings, for the mask of the last generation."""
    return {name: kept_generation(page)["metadata"][name] for name in NAMES}


@ON_A_PHONE_TOO
def test_an_image_is_chosen_placed_and_cloned_into_the_mask(marked: Page, insert: Path, photo: Pixels) -> None:
    page = marked
    choose(page, insert)
    before = place_shown(page)
    assert entered(page) == [""] * 4
    assert before["insert_y"] == pytest.approx(128, abs=3)
    inside, opaque = is_green(page, before["insert_x"] - 5, 128)
    beside, dimmed = is_green(page, before["insert_x"] - 5, before["insert_y"] - before["insert_width"] / 4 + 3)
    assert (inside, opaque, beside) == (True, 255, True)
    assert 40 < dimmed < 128
    drag_over(page, at(page, before["insert_x"], 128), at(page, before["insert_x"] - 20, 138))
    after = place_shown(page)
    assert after["insert_x"] - before["insert_x"] == pytest.approx(-20, abs=1.5)
    assert after["insert_y"] - before["insert_y"] == pytest.approx(10, abs=1.5)
    # The lower right corner, while the upper left one stays.
    half, left = after["insert_width"] / 2, after["insert_x"] - after["insert_width"] / 2
    corner = after["insert_x"] + half, after["insert_y"] + half / 2
    drag_over(page, at(page, *corner), at(page, corner[0] + half, corner[1] + half / 2))
    larger = place_shown(page)
    assert larger["insert_width"] == pytest.approx(1.5 * after["insert_width"], rel=0.05)
    assert larger["insert_x"] - larger["insert_width"] / 2 == pytest.approx(left, abs=1.5)
    expect(page.locator("#generate")).to_have_text("Replace")
    generate(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile("^Inserted in .*, nothing else touched$"))
    generation = kept_generation(page)
    metadata = generation["metadata"]
    assert (metadata["engine"], metadata["insert_mode"], metadata["prompt"]) == ("quick-fill", "clone", "")
    assert {name: metadata[name] for name in NAMES} == {**larger, "insert_rotation": 0}
    result = decode_image(page.request.get(generation["images"][0]["url"]).body()).image.pixels[:, :, :3]
    mask = stored_mask(page)
    assert (result[mask == 0] == photo[mask == 0]).all()
    # The insert has no detail but the edge in its middle: what is cloned is smooth on both sides of it.
    x = round(larger["insert_x"])
    y = int(np.flatnonzero(mask[:, x] == 255).mean())
    seam = np.abs(result[y - 3 : y + 4, x - 3].astype(int) - result[y - 3 : y + 4, x + 3]).mean()
    smooth = np.abs(result[y - 3 : y + 4, x - 12].astype(int) - result[y - 3 : y + 4, x - 6]).mean()
    assert seam > 20 + smooth


def test_without_being_moved_it_lies_where_the_server_puts_it(marked: Page, insert: Path, tmp_path: Path) -> None:
    page = marked
    cut_out = np.dstack([data.coffee()[:80, :100], np.full((80, 100), 255, np.uint8)])
    cut_out[:9, :, 3] = 0
    for path, grow in ((insert, ""), (written(cut_out, tmp_path / "cup.png"), "7")):
        page.locator("[name=mask_grow]").evaluate("(input, pixels) => { input.value = pixels }", grow)
        page.locator("#insert-tool").click()
        options(page)
        page.get_by_label("Image to insert", exact=True).set_input_files(path)
        expect(page.locator("#insert-panel")).to_be_hidden()
        shown = place_shown(page)
        generate(page)
        assert plan_of(page) == shown
        page.get_by_role("button", name="Back", exact=True).click()


def test_keys_move_scale_and_rotate_it(marked: Page, insert: Path) -> None:
    page = marked
    choose(page, insert)
    expect(page.locator("#surface")).to_be_focused()
    before, scale = place_shown(page), photo_box(page)["width"] / 256
    for key in ("ArrowRight", "Shift+ArrowDown", "+", ".", "."):
        page.keyboard.press(key)
    after = place_shown(page)
    assert after["insert_x"] == pytest.approx(before["insert_x"] + 2 / scale, abs=0.02)
    assert after["insert_y"] == pytest.approx(before["insert_y"] + 20 / scale, abs=0.02)
    assert after["insert_width"] == pytest.approx(1.05 * before["insert_width"], abs=0.02)
    assert after["insert_rotation"] == 10
    expect(page.locator("#tool-message")).to_have_text(re.compile(r"^Image at \d+, \d+, \d+ px wide, 10°$"))
    page.keyboard.press("-")
    page.keyboard.press(",")
    assert place_shown(page)["insert_width"] == pytest.approx(before["insert_width"], abs=0.03)
    assert place_shown(page)["insert_rotation"] == 5
    # With another tool the arrow keys move the crosshair, and the button leads back.
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    assert place_shown(page)["insert_rotation"] == 5
    page.get_by_role("button", name="Place the image to insert").click()
    page.get_by_role("button", name="Reset placement").click()
    assert entered(page) == [""] * 4
    assert place_shown(page) == before
    options(page)
    page.get_by_label("Rotation, °").fill("90")
    assert place_shown(page)["insert_width"] > before["insert_width"], "it still covers the mask"
    page.get_by_label("Rotation, °").fill("200")
    page.keyboard.press("Escape")
    page.locator("#generate").click()
    expect(page.locator("#generate-message")).to_have_text("Rotation of the insert must be a number from -180 to 180.")
    expect(page.locator("#insert-panel")).to_be_visible()


def test_its_handle_rotates_it(marked: Page, insert: Path) -> None:
    page = marked
    choose(page, insert)
    placed, scale = place_shown(page), photo_box(page)["width"] / 256
    x, y, height = placed["insert_x"], placed["insert_y"], placed["insert_width"] / 2
    handle = at(page, x, y - height / 2 - 32 / scale)
    drag_over(page, handle, at(page, x + 60, y + 1))
    assert place_shown(page)["insert_rotation"] == 90
    assert place_shown(page)["insert_x"] == x


@ON_A_PHONE_TOO
def test_a_reload_and_a_reopened_generation_keep_it(marked: Page, insert: Path) -> None:
    page = marked
    choose(page, insert)
    drag_over(page, at(page, 128, 128), at(page, 138, 128))
    place = entered(page)
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    expect(page.locator("#surface")).to_have_attribute("data-tool", "insert")
    assert entered(page) == place
    assert is_green(page, 128, 128) == (True, 255)
    generate(page)
    generation = kept_generation(page)
    empty_draft(page)
    page.goto(f"/generations/{generation['id']}/")
    expect(page.get_by_text("Inserted in").first).to_be_visible()
    page.get_by_role("link", name="Open in editor").click()
    expect(page.locator("#insert-image-zone .mask-name")).to_have_text("insert-image.png")
    expect(page.get_by_role("radio", name="Replace", include_hidden=True)).to_be_checked()
    expect(page.locator("#surface")).to_have_attribute("data-tool", "insert")
    assert entered(page) == place
    generate(page)
    again = kept_generation(page)
    assert again["id"] != generation["id"]
    assert again["metadata"]["insert_image_sha256"] == generation["metadata"]["insert_image_sha256"]
    assert again["metadata"]["insert_x"] == generation["metadata"]["insert_x"]


def test_it_is_sent_only_where_something_is_replaced_and_not_for_another_photo(
    marked: Page, insert: Path, tmp_path: Path
) -> None:
    page = marked
    choose(page, insert)
    page.keyboard.press("ArrowRight")
    choose_task(page, "Remove")
    expect(page.locator("#insert-tool")).to_be_hidden()
    assert not is_green(page, 128, 128)[0]
    generate(page)
    assert "insert_image" not in kept_generation(page)
    assert not {*NAMES} & set(kept_generation(page)["metadata"]["requested"])
    page.get_by_role("button", name="Back", exact=True).click()
    choose_task(page, "Replace")
    expect(page.locator("#surface")).to_have_attribute("data-tool", "insert")
    generate(page)
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    assert entered(page) == [""] * 4, "the place belonged to the step before"
    expect(page.locator("#insert-image-zone .mask-name")).to_have_text("lawn.png")
    open_photo(page, written(data.chelsea()[:200, :200], tmp_path / "cat.png"))
    expect(page.locator("#photo-name")).to_have_text("cat.png")
    expect(page.locator("#insert-image-zone .mask-name")).to_have_text("")


def test_it_is_dropped_pasted_refused_and_removed(marked: Page, insert: Path, tmp_path: Path) -> None:
    page = marked
    page.locator("#insert-tool").click()
    (tmp_path / "notes.txt").write_text("no image")
    drop(page, "#insert-image-zone", tmp_path / "notes.txt")
    expect(page.locator("#insert-image-message")).to_contain_text("is not a")
    drop(page, "#insert-image-zone", insert)
    expect(page.locator("#surface")).to_have_attribute("data-tool", "insert")
    options(page)
    page.locator("#insert-panel").get_by_role("button", name="Remove").click()
    expect(page.locator("#surface")).to_have_attribute("data-tool", "brush")
    assert not is_green(page, 128, 128)[0]
    page.evaluate(
        """async (bytes) => {
            const clipboardData = new DataTransfer()
            clipboardData.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }))
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }))
        }""",
        list(insert.read_bytes()),
    )
    expect(page.locator("#insert-image-zone .mask-name")).to_have_text("pasted.png")
    expect(page.locator("#photo-name")).to_have_text("astronaut.png")
