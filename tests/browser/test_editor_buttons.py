"""What keys do, by buttons on a desktop and on a phone: changes of the mask, its view, the help, bringing a photo."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import sign_up
from tests.browser.devices import ON_A_PHONE_TOO, drag, press, reveal
from tests.browser.editor_page import Pixels, choose_task, is_red, open_photo, overlay_colour, paint_line, written

pytestmark = pytest.mark.browser


def covered(page: Page) -> float:
    """The percentage of the photo that the page says is to be repainted; 0: nothing."""
    text = page.locator("#photo-covered").inner_text()
    return float(text.split()[0]) if "%" in text else 0


@ON_A_PHONE_TOO
def test_the_mask_is_changed_and_shown_otherwise_by_buttons(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    press(page, "Rectangle")
    drag(page, "#in-place", (0.25, 0.25), (0.75, 0.75))
    assert covered(page) == pytest.approx(25, abs=1)
    for name, percent in (("Grow", 39), ("Shrink", 25)):  # by 16 of 256 pixels on each side
        press(page, name)
        page.get_by_label(f"{name} by").fill("16")
        expect(page.locator("#photo-covered")).to_have_text(f"{percent} % to repaint")
        press(page, "Use")
    press(page, "Feather")
    page.get_by_label("Soften the edge over").fill("20")
    press(page, "Use")
    soft = overlay_colour(page, 0.25, 0.5)[3]
    assert 0 < soft < overlay_colour(page)[3]
    press(page, "Undo")
    reveal(page, page.get_by_label("Remove from the mask")).check()
    page.keyboard.press("Escape")
    drag(page, "#in-place", (0.4, 0.4), (0.6, 0.6))
    assert not is_red(page)
    press(page, "Fill holes")
    assert is_red(page)
    press(page, "Invert")
    assert not is_red(page)
    assert is_red(page, 0.1, 0.1)
    press(page, "Overlay, outline, alone")
    assert overlay_colour(page, 0.1, 0.1)[3] == 0
    press(page, "Overlay, outline, alone")
    assert overlay_colour(page, 0.1, 0.1) == (0, 0, 0, 255)
    press(page, "Overlay, outline, alone")
    page.keyboard.press("Escape")
    press(page, "Clear")
    assert covered(page) == 0


@ON_A_PHONE_TOO
def test_a_softer_brush_covers_less_and_the_help_is_opened_by_a_button(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    shares = []
    for hardness in ("1", "0"):
        reveal(page, page.get_by_label("Hardness", exact=True)).fill(hardness)
        page.keyboard.press("Escape")
        paint_line(page, from_left=0.4, to_left=0.6)
        assert is_red(page)
        shares.append(covered(page))
        press(page, "Undo")
    assert shares[1] < shares[0]
    help_button = page.locator("[data-command=help]")
    button = help_button.first if help_button.first.is_visible() else reveal(page, help_button.last)
    button.click()
    sheet = page.get_by_role("dialog", name="Keys and gestures")
    expect(sheet).to_contain_text("Wheel, two fingers")
    press(page, "Close")
    expect(sheet).to_be_hidden()


@pytest.mark.parametrize("device", ["phone"], indirect=True)
def test_a_photo_is_taken_with_the_camera(page: Page, photo_file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take one").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(photo_file)
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)


def test_a_photo_is_pasted(page: Page, photo_file: Path) -> None:
    expect(page.get_by_role("button", name="Take one")).to_be_hidden()
    page.evaluate(
        """(bytes) => {
            const clipboardData = new DataTransfer()
            clipboardData.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }))
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, cancelable: true }))
        }""",
        list(photo_file.read_bytes()),
    )
    expect(page.locator("#photo-name")).to_have_text("pasted.png")


@ON_A_PHONE_TOO
def test_photo_stroke_and_frame_are_undone_and_done_again_in_turn(
    page: Page, photo: Pixels, photo_file: Path, tmp_path: Path
) -> None:
    """One undo over everything, the photo that is opened over another one too."""
    width, name, share = (page.locator(selector) for selector in ("#tool-frame-width", "#photo-name", "#photo-covered"))
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    painted = share.inner_text()
    press(page, "Extend the photo")
    reveal(page, page.get_by_label("Ratio")).select_option("16:9")
    page.keyboard.press("Escape")
    page.set_input_files("#photo-input", written(photo[::-1], tmp_path / "second.png"))
    expect(name).to_have_text("second.png")
    none = "nothing to repaint yet"
    expect(share).to_have_text(none)
    states = [(photo_file.name, none, "256"), (photo_file.name, painted, "256"), (photo_file.name, painted, "455")]
    for command, wanted in (("Undo", states[::-1]), ("Redo", [*states[1:], ("second.png", none, "256")])):
        for photo_name, repainted, pixels in wanted:
            press(page, command)
            expect(name).to_have_text(photo_name)
            expect(share).to_have_text(repainted)
            expect(width).to_have_value(pixels)


@ON_A_PHONE_TOO
def test_replace_without_a_model_says_what_can_be_done_here(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    choose_task(page, "Replace")
    button = page.get_by_role("button", name="Replace", exact=True)
    page.route("**/models/", lambda route: route.abort())
    button.click()
    expect(page.locator("#generate-message")).to_contain_text("The server cannot be reached.")
    page.unroute_all()
    button.click()
    dialog = page.get_by_role("dialog", name="What you can do here")
    expect(dialog).to_contain_text("Nothing here reads a prompt yet.")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
