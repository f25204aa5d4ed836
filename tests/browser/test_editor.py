"""The editor from sign-up to download: drop a photo, paint a mask, generate."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from inpainting.core.codecs import decode_image
from tests.browser.conftest import confirm, sign_up
from tests.browser.devices import ON_A_PHONE_TOO, ON_EVERY_DEVICE, Device, drag_over, press, reveal
from tests.browser.editor_page import (
    SIDE,
    Pixels,
    choose_task,
    close_settings,
    downloaded,
    drop,
    generate,
    is_red,
    kept_generation,
    more_settings,
    open_photo,
    overlay_colour,
    paint_line,
    photo_box,
    start,
    stored_mask,
    white_square,
    written,
)

pytestmark = pytest.mark.browser


@pytest.mark.smoke
@ON_A_PHONE_TOO
def test_a_new_user_drops_a_photo_and_a_mask_and_gets_the_object_removed(
    visitor: Page, photo: Pixels, photo_file: Path, tmp_path: Path
) -> None:
    email = sign_up(visitor)
    expect(visitor.locator(".account-email")).to_have_text(email)
    drop(visitor, "#stage", photo_file)
    expect(visitor.locator("#photo-name")).to_have_text("astronaut.png")
    expect(visitor.locator("#generate")).to_be_disabled()

    drop(visitor, "#mask-zone", written(white_square(), tmp_path / "hole.png"))
    expect(visitor.locator("#mask-name")).to_have_text("hole.png")
    preview = visitor.locator("#mask-preview")
    middle_and_corner = preview.evaluate(
        """async (canvas) => {
            const pixel = (at) => [...canvas.getContext("2d").getImageData(at, at, 1, 1).data]
            while (!pixel(64)[3]) await new Promise(requestAnimationFrame) // it is drawn after the name is shown
            return [pixel(64), pixel(10)]
        }"""
    )
    assert middle_and_corner == [[0, 0, 0, 255], [255, 255, 255, 255]]
    assert is_red(visitor)
    assert not is_red(visitor, 0.3, 0.3)

    generate(visitor)
    result = downloaded(visitor)
    outside = white_square() == 0
    assert np.array_equal(stored_mask(visitor), white_square())
    assert np.array_equal(result[outside], photo[outside])
    assert not np.array_equal(result[~outside], photo[~outside])

    visitor.get_by_role("link", name="History").click()
    visitor.locator(".card a").click()
    expect(visitor.locator("main figure")).to_have_count(3)
    expect(visitor.locator(".recipe")).to_contain_text("quick-fill")


@pytest.mark.smoke
@ON_EVERY_DEVICE
def test_the_brush_paints_the_mask_and_every_action_can_be_undone(page: Page, photo: Pixels, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    assert is_red(page)
    press(page, "Undo")
    assert not is_red(page)
    expect(page.locator("#generate")).to_be_disabled()
    page.keyboard.press("Control+Shift+Z")
    assert is_red(page)

    press(page, "Invert")
    assert not is_red(page)
    assert is_red(page, 0.4, 0.2)
    page.keyboard.press("x")
    assert is_red(page)
    assert not is_red(page, 0.4, 0.2)

    page.keyboard.press("v")  # the outline, the mask alone, and the overlay again
    assert overlay_colour(page) == (0, 0, 0, 0)
    page.keyboard.press("v")
    assert overlay_colour(page) == (0, 0, 0, 255)
    page.keyboard.press("v")
    assert is_red(page)

    page.keyboard.press("e")
    paint_line(page, from_left=0.45, to_left=0.55)
    assert not is_red(page)
    page.keyboard.press("Control+Z")
    page.keyboard.press("b")
    press(page, "Clear")
    assert not is_red(page)
    page.keyboard.press("Control+Z")
    assert is_red(page)

    generate(page)
    result, mask = downloaded(page), stored_mask(page)
    assert mask[SIDE // 2, SIDE // 2] == 255
    assert mask[:40].max() == 0
    assert np.array_equal(result[mask == 0], photo[mask == 0])
    assert not np.array_equal(result, photo)


def test_keys_change_the_brush_and_a_wider_brush_covers_more(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    page.keyboard.press("]")
    size = page.locator("#tool-size-shown")
    expect(size).to_have_text("44 px")
    page.keyboard.press("[")
    expect(size).to_have_text("40 px")
    reveal(page, page.get_by_label("Measure the size")).select_option("in pixels of the photo")
    page.keyboard.press("Escape")
    page.locator("#tool-size").fill("0")
    expect(size).to_have_text("1 px")
    page.locator("#tool-size").fill("1000")
    expect(size).to_have_text("128 px")
    paint_line(page, from_left=0.5, to_left=0.5)
    covered = page.locator("#photo-covered")
    expect(covered).to_have_text("20 % to repaint")  # a disc of 128 in 256 x 256: pi * 64 ** 2 / 256 ** 2


def test_one_finger_paints_and_two_fingers_zoom_without_painting(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    fitted = page.locator("#zoom-shown").inner_text()
    box = photo_box(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    devtools = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x + right, "y": y + down, "id": number} for number, (right, down) in enumerate(points)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (-10, 0))
    touch("touchStart", (-10, 0), (10, 0))
    touch("touchMove", (-60, 0), (60, 0))
    touch("touchEnd")
    expect(page.locator("#zoom-shown")).not_to_have_text(fitted)
    assert not is_red(page)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.locator("#zoom-shown").click()
    expect(page.locator("#zoom-shown")).to_have_text("100 %")
    assert photo_box(page)["width"] == pytest.approx(256, abs=1)
    page.get_by_role("button", name="Fit").click()
    expect(page.locator("#zoom-shown")).to_have_text(fitted)

    touch("touchStart", (-10, 0))
    touch("touchMove", (10, 0))
    touch("touchEnd")
    assert is_red(page)


@ON_A_PHONE_TOO
@pytest.mark.parametrize("inverted", [False, True])
def test_the_smaller_part_of_a_mask_is_red_in_either_polarity(
    page: Page, photo_file: Path, tmp_path: Path, inverted: bool
) -> None:
    open_photo(page, photo_file)
    mask = white_square()
    page.set_input_files("#mask-input", written(255 - mask if inverted else mask, tmp_path / "any.png"))
    expect(page.locator("#mask-name")).to_have_text("any.png")
    assert is_red(page)
    assert not is_red(page, 0.3, 0.3)


@ON_A_PHONE_TOO
def test_a_mask_of_another_size_is_scaled_to_the_photo(page: Page, photo_file: Path, tmp_path: Path) -> None:
    open_photo(page, photo_file)
    page.set_input_files("#mask-input", written(white_square(64), tmp_path / "small.png"))
    expect(page.locator("#mask-about")).to_contain_text("Scaled from 64 × 64")
    generate(page)
    mask = stored_mask(page)
    assert mask.shape == (SIDE, SIDE)
    assert mask[SIDE // 2, SIDE // 2] == 255
    assert mask[0, 0] == 0


@ON_A_PHONE_TOO
def test_a_photo_is_enlarged_and_the_larger_one_is_the_next_source(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    choose_task(page, "Enlarge")
    page.get_by_label("How many times larger").select_option("1.5 times")
    expect(page.locator("#generate-hint")).to_have_text(f"{SIDE * 3 // 2} × {SIDE * 3 // 2}")
    start(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile("^Enlarged in "))
    assert kept_generation(page)["metadata"]["engine"] == "upscale"
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#photo-name")).to_have_text("astronaut-2.png")
    assert page.locator("#photo-size").text_content() == f"{SIDE * 3 // 2} × {SIDE * 3 // 2}"
    expect(page.get_by_role("button", name="Step 1, from the photo: Enlarged")).to_be_attached()


def test_an_upscaling_is_asked_for_once_more_by_its_curl_command_and_has_no_more_like_it(
    page: Page, photo_file: Path
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)  # without detail it has no effect
    choose_task(page, "Enlarge")
    page.get_by_label("How many times larger").select_option("1.5 times")
    start(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile("^Enlarged in "))
    expect(page.get_by_role("button", name="More like this")).to_be_disabled()
    page.get_by_role("button", name="More ways to download").click()
    page.get_by_role("button", name="Copy as curl").click()
    _, url, *words = shlex.split(page.evaluate("navigator.clipboard.readText()").replace("\\\n", " "))
    assert "mask=@mask.png" not in words
    sent = [word for word, flag in zip(words[1:], words, strict=False) if flag == "--form-string"]
    fields: dict[str, Any] = dict(word.split("=", 1) for word in sent)
    fields["image"] = {"name": "photo.png", "mimeType": "image/png", "buffer": photo_file.read_bytes()}
    token = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "csrftoken")
    again = page.request.post(url, multipart=fields, headers={"X-CSRFToken": token}).json()
    first, second = kept_generation(page), page.request.get(f"/api/generations/{again['id']}/").json()
    assert first["id"] != second["id"]
    shown, repeated = (page.request.get(one["images"][0]["url"]).body() for one in (first, second))
    assert np.array_equal(decode_image(shown).image.pixels, decode_image(repeated).image.pixels)


@ON_A_PHONE_TOO
def test_the_expected_time_is_shown_before_a_photo_is_enlarged(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    choose_task(page, "Enlarge")
    page.get_by_label("How many times larger").select_option("1.5 times")
    start(page)
    page.get_by_role("button", name="Keep").click()  # there is an observation for estimates from now on
    side = SIDE * 3 // 2
    question = {"engine": "upscale", "image_size": [side, side], "scale": 2}
    with page.expect_request(lambda sent: sent.url.endswith("/api/plan/") and sent.post_data_json == question):
        page.get_by_label("How many times larger").select_option("2 times")
    expect(page.locator("#scale-time")).to_have_text(re.compile(r"^about \d+ s$"))
    expect(page.locator("#generate-hint")).to_have_text(f"{2 * side} × {2 * side}")


def test_detail_needs_a_model(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    choose_task(page, "Enlarge")
    expect(page.get_by_label("Add detail")).to_be_disabled()
    expect(page.locator("#detail-reason")).to_have_text(re.compile("^Adding detail needs "))
    choose_task(page, "Remove")
    expect(page.locator("#detail-reason")).to_be_hidden()


def test_a_photo_with_mask_in_its_name_is_opened_as_a_photo(page: Page, photo_file: Path, tmp_path: Path) -> None:
    open_photo(page, photo_file)
    drop(page, "#stage", written(np.full((100, 240, 3), 90, np.uint8), tmp_path / "masked-ball.png"))
    expect(page.locator("#photo-name")).to_have_text("masked-ball.png")
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(deep)
    drop(page, "#stage", deep)
    expect(page.locator("#photo-size")).to_have_text("64 × 64 · 16 bits kept")


@ON_A_PHONE_TOO
def test_a_mask_that_is_not_a_png_is_refused(page: Page, photo: Pixels, photo_file: Path, tmp_path: Path) -> None:
    open_photo(page, photo_file)
    drop(page, "#mask-zone", written(photo, tmp_path / "mask.jpg"))
    expect(page.locator("#mask-message")).to_have_text("Masks must be PNG files; “mask.jpg” is a JPEG file.")
    assert not is_red(page)


@ON_A_PHONE_TOO
def test_a_mask_over_ten_megabytes_is_refused_and_one_of_one_colour_chooses_nothing(
    page: Page, photo_file: Path, tmp_path: Path
) -> None:
    open_photo(page, photo_file)
    path = tmp_path / "huge.png"
    path.write_bytes(bytes(11 * 2**20))
    page.set_input_files("#mask-input", path)
    message = page.locator("#mask-message")
    expect(message).to_have_text("Masks must be 10 MB or less; this one has 11 MB.")
    page.set_input_files("#mask-input", written(np.zeros((SIDE, SIDE), np.uint8), tmp_path / "black.png"))
    expect(message).to_have_text("Nothing is chosen by this mask. Invert chooses everything.")
    expect(page.locator("#generate")).to_be_disabled()


def test_a_photo_beyond_the_limits_of_the_page_is_refused(page: Page, photo_file: Path, tmp_path: Path) -> None:
    wide = written(np.zeros((2, 8193, 3), np.uint8), tmp_path / "wide.png")
    page.set_input_files("#photo-input", wide)
    message = page.locator("#photo-message")
    expect(message).to_have_text("This photo is 8193×2; at most 8192 a side and 40 megapixels are allowed.")
    open_photo(page, photo_file)


@ON_A_PHONE_TOO
def test_a_damaged_photo_is_refused_and_the_page_stays_usable(page: Page, photo_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"not an image")
    page.set_input_files("#photo-input", path)
    expect(page.locator("#photo-message")).to_contain_text("cannot be read as an image")
    open_photo(page, photo_file)
    expect(page.locator("#photo-message")).to_be_hidden()


@ON_A_PHONE_TOO
def test_ignored_settings_are_disabled_with_the_reason(page: Page, photo_file: Path) -> None:
    """Without a model the prompt is not there, and one line says why; the button is for erasing."""
    open_photo(page, photo_file)
    expect(page.locator("#prompt")).to_be_hidden()
    expect(page.locator("#generate")).to_have_text("Remove")
    expect(page.locator("#engine-missing")).to_contain_text(re.compile("has no model here yet|light installation"))
    for name in ("prompt", "negative_prompt", "denoising_strength"):
        expect(page.locator(f"[name={name}]")).to_be_disabled()
    expect(page.locator("#ignored-reason")).to_have_text("Quick fill does not read it.")


@ON_EVERY_DEVICE
def test_a_reload_shows_the_result_again_and_the_result_can_be_the_next_source(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)
    page.reload()
    expect(page.locator("#result")).to_be_visible()
    page.get_by_role("button", name="Back", exact=True).click()
    assert is_red(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result")).to_be_visible()
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#photo-name")).to_have_text("astronaut-3.png")
    assert not is_red(page)


def abort_websockets(page: Page) -> None:
    page.add_init_script(
        """window.WebSocket = class extends EventTarget {
            constructor() { super(); setTimeout(() => this.dispatchEvent(new Event("close"))) }
            close() {}
        }"""
    )
    page.reload()
    page.wait_for_selector("#editor[data-ready]")


def test_a_jpeg_is_downloaded_and_the_lossless_png_is_the_next_source(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    quality = page.get_by_label("File quality")
    expect(quality).to_be_disabled()
    page.get_by_label("File format").select_option("jpeg")
    expect(quality).to_be_enabled()
    quality.fill("30")
    generate(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "astronaut-2.jpg"
    plain = Path(download.value.path()).read_bytes()
    assert plain.startswith(b"\xff\xd8\xff")
    assert b"c2pa.edited" not in plain  # quick-fill: only if asked for
    page.get_by_role("button", name="More ways to download").click()
    page.get_by_label("With Content Credentials").check()
    with page.expect_download() as download:
        page.get_by_role("link", name="WebP").click()
    assert b"c2pa.edited" in Path(download.value.path()).read_bytes()
    page.keyboard.press("Escape")
    with page.expect_response(re.compile(r"/images/0/\?format=png$")):
        page.get_by_role("button", name="Keep").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")


def test_the_page_polls_for_the_result_without_a_websocket(page: Page, photo_file: Path) -> None:
    abort_websockets(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)


@ON_A_PHONE_TOO
def test_the_page_survives_a_lost_connection_and_cancel_keeps_the_mask(page: Page, photo_file: Path) -> None:
    generation_url = "/api/generations/0b0c7c1e-0000-4000-8000-000000000000/"
    state = {"status": "running", "progress": {"step": 3, "of": 12, "percent": 25}}
    offline = False

    def answer(route: Route) -> None:
        if offline:
            route.abort()
        elif route.request.url.endswith("/cancel/"):
            state["status"] = "cancelled"
            route.fulfill(json=state)
        else:
            route.fulfill(json=state)

    accepted = {"status": "processing", "id": generation_url.split("/")[3], "url": generation_url}
    page.route("**/api/img2img", lambda route: route.fulfill(status=202, json=accepted))
    page.route(f"**{generation_url}**", answer)
    abort_websockets(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    start(page)
    detail = page.locator("#progress-detail")
    expect(detail).to_have_text("Step 3 of 12 · 25 %")
    offline = True
    expect(detail).to_have_text("No connection; trying again…")
    offline = False
    expect(detail).to_have_text("Step 3 of 12 · 25 %")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#generate-message")).to_have_text("Cancelled. Your mask is still here.")
    assert is_red(page)


@ON_A_PHONE_TOO
def test_an_error_of_the_server_is_shown_beside_its_field(page: Page, photo_file: Path) -> None:
    refusal = {"status": "error", "message": "The mask is empty.", "code": "mask_empty", "field": "mask"}
    page.route("**/api/img2img", lambda route: route.fulfill(status=400, json=refusal))
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    start(page)
    expect(page.locator("#mask-message")).to_have_text("The mask is empty.")
    expect(page.locator("#generate")).to_be_enabled()
    assert is_red(page)


@ON_A_PHONE_TOO
def test_a_key_is_shown_once_and_can_be_revoked(page: Page) -> None:
    page.context.clear_cookies()
    sign_up(page)  # the password of the session that the tests share may have been confirmed minutes ago
    page.goto("/keys/")
    page.get_by_label("Name").fill("photo script")
    page.get_by_role("button", name="Make key").click()
    confirm(page)
    key = page.locator("#new-key").inner_text()
    assert page.locator("#curl-line").inner_text().count(key) == 1
    page.goto("/keys/")
    assert key not in page.content()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke photo script").click()
    expect(page.locator("main")).to_contain_text("None yet")


@ON_EVERY_DEVICE
def test_each_step_knows_its_parent_and_an_earlier_one_can_be_branched_from(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)
    first = kept_generation(page)
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    paint_line(page, from_left=0.2, to_left=0.25, down=0.2)
    generate(page)
    second = kept_generation(page)
    page.get_by_role("button", name="Step 1, from the photo: Removed").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    assert not is_red(page)
    paint_line(page, from_left=0.8, to_left=0.85, down=0.2)
    generate(page)
    third = kept_generation(page)
    assert [step["parent"] for step in (first, second, third)] == [None, first["id"], first["id"]]
    page.reload()
    steps = page.locator("#filmstrip button")
    expect(steps).to_have_count(4)  # after the photo
    expect(steps.nth(3)).to_have_attribute("aria-current", "step")
    expect(steps.nth(3)).to_have_accessible_name("Step 3, from step 1: Removed")
    steps.first.click()
    expect(page.locator("#result")).to_be_hidden()
    expect(steps.first).to_have_attribute("aria-current", "step")


@ON_EVERY_DEVICE
def test_the_result_is_compared_in_the_place_of_the_photo(page: Page, photo_file: Path, device: Device) -> None:
    open_photo(page, photo_file)
    before = photo_box(page)
    paint_line(page, from_left=0.48, to_left=0.52)
    result = page.locator("#result-image")
    result.evaluate("it => it.addEventListener('animationend', (event) => { it.played = event.animationName })")
    generate(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile(r"^Removed in [0-9.]+ s, nothing else touched$"))
    expect(page.locator("#result")).to_be_focused()
    assert (result.bounding_box(), photo_box(page)) == (before, before)
    expect(result).to_have_js_property("played", "appear")
    page.get_by_role("button", name="Divider", exact=True).click()
    divider = page.get_by_role("slider", name="Divider")
    expect(divider).to_have_attribute("aria-valuenow", "50")
    line, gear, summary = (
        page.locator(name).bounding_box() for name in ("#divider", "#more > summary", "#result-summary")
    )
    assert line is not None
    assert gear is not None
    assert summary is not None
    assert (line["y"], line["height"]) == pytest.approx((before["y"], before["height"]), abs=1)
    if device.pointer == "mouse":
        assert gear["y"] < summary["y"] + summary["height"] < gear["y"] + gear["height"], "not in a row of its own"
    divider.press("ArrowRight")
    assert int(divider.get_attribute("aria-valuenow") or 0) > 50
    divider.press("Home")
    expect(divider).to_have_attribute("aria-valuenow", "0")
    handle = divider.bounding_box()
    assert handle is not None
    y = before["y"] + 20
    drag_over(page, (handle["x"] + handle["width"] / 2, y), (before["x"] + before["width"] * 0.75, y))
    expect(divider).to_have_attribute("aria-valuenow", "75")
    cut = result.evaluate("image => parseFloat(image.style.clipPath.split(' ').at(-1))")
    assert cut == pytest.approx(0.75 * before["width"], abs=1), "left of the line is the photo as it was"
    page.get_by_role("button", name="Difference").click()
    expect(divider).to_be_hidden()
    expect(result).to_have_css("mix-blend-mode", "difference")
    page.get_by_role("button", name="Blink").click()
    expect(result).to_have_css("visibility", "hidden")
    expect(result).to_have_css("visibility", "visible")
    page.get_by_role("button", name="Blink").click()
    page.get_by_role("button", name="Hold").dispatch_event("pointerdown")
    expect(result).to_have_css("visibility", "hidden")
    page.get_by_role("button", name="Hold").dispatch_event("pointerup")
    expect(result).to_have_css("visibility", "visible")
    page.get_by_role("button", name="Zoom in").click()
    assert result.bounding_box() == photo_box(page) != before
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Step 2, from the photo: Removed")).to_be_visible()


@ON_A_PHONE_TOO
def test_settings_are_kept_as_presets_and_for_the_next_visit(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    seed, grow = page.get_by_label("Seed", exact=True), page.get_by_label("Grow mask")
    page.get_by_role("button", name="A new seed").click()
    assert seed.input_value().isdecimal()
    page.get_by_role("button", name="Lock the seed").click()
    expect(seed).to_have_value("")
    grow.fill("4")
    page.get_by_role("button", name="Presets").click()
    page.get_by_label("Name of the preset").fill("Grown")
    page.get_by_role("button", name="Save these settings").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Back to the defaults").click()
    expect(grow).to_have_value("")
    page.get_by_role("button", name="Presets").click()
    page.get_by_role("button", name="Grown", exact=True).click()
    expect(grow).to_have_value("4")
    page.get_by_role("button", name="Forget Grown").click()
    expect(page.get_by_role("button", name="Grown", exact=True)).to_have_count(0)
    page.keyboard.press("Escape")
    at_once = page.get_by_label("Start as soon as the brush is lifted")
    at_once.check()
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    more_settings(page)
    expect(at_once).to_be_checked()
    at_once.uncheck()
    page.get_by_role("button", name="Presets").click()
    expect(page.locator("#presets button")).to_have_count(0)
    page.keyboard.press("Escape")
    close_settings(page)
    generate(page)
    painted_with = kept_generation(page)["metadata"]["seed"]
    page.get_by_role("button", name="Back", exact=True).click()
    more_settings(page)
    page.get_by_role("button", name="Lock the seed").click()
    expect(seed).to_have_value(str(painted_with))
    page.goto("/")
    page.wait_for_selector("#editor[data-ready]")
    expect(page.locator("[name=mask_grow]")).to_have_value("4")


@ON_A_PHONE_TOO
def test_a_result_is_downloaded_in_each_format_and_its_request_copied_as_curl(page: Page, photo_file: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)
    page.get_by_role("button", name="More ways to download").click()
    page.get_by_label("With the recipe").uncheck()
    for format, signature in (("PNG", b"\x89PNG"), ("JPEG", b"\xff\xd8"), ("WebP", b"RIFF")):
        with page.expect_download() as download:
            page.get_by_role("link", name=format, exact=True).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(signature)
        assert b"dreamlayer" not in content
    page.get_by_label("With the recipe").check()
    with page.expect_download() as download:
        page.get_by_role("link", name="WebP", exact=True).click()
    assert b'"engine": "quick-fill"' in Path(download.value.path()).read_bytes()
    page.get_by_role("button", name="Copy the image").click()
    expect(page.locator("#copy-image")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.read().then(([item]) => item.types)") == ["image/png"]
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#copy-curl")).to_have_text("Copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith(f"curl '{page.url.partition('?')[0]}api/img2img' \\\n")
    assert "--form-string 'engine=auto'" in command


@ON_A_PHONE_TOO
def test_the_curl_command_is_shown_and_selected_without_a_clipboard(page: Page, photo_file: Path) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as without HTTPS
    page.reload()
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)
    press(page, "More ways to download")
    shown = page.get_by_label("The request as a curl command")
    expect(shown).to_be_hidden()
    press(page, "Copy as curl")
    expect(shown).to_be_in_viewport()
    expect(shown).to_contain_text("api/img2img")
    assert page.evaluate("getSelection().toString().trim()") == shown.inner_text().strip()


@ON_EVERY_DEVICE
def test_lifting_the_brush_erases_where_that_is_switched_on(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    page.locator("#tool-size").fill("0")
    paint_line(page, from_left=0.5, to_left=0.5)
    expect(page.locator("#generate-hint")).to_have_text("Only under 0.1 % of the photo is painted over. Was that all?")
    page.keyboard.press("Control+Z")
    page.locator("#tool-size").fill("600")
    more_settings(page)
    page.get_by_label("Start as soon as the brush is lifted").check()
    close_settings(page)
    paint_line(page, from_left=0.48, to_left=0.52)
    expect(page.locator("#filmstrip button")).to_have_count(2)
    expect(page.locator("#generate-hint")).to_have_text(re.compile("^Removed in .*, nothing else touched.$"))
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    paint_line(page, from_left=0.2, to_left=0.25)
    expect(page.locator("#filmstrip button")).to_have_count(3)
    expect(page.get_by_role("button", name="Step 2, from step 1: Removed")).to_be_visible()


@ON_A_PHONE_TOO
def test_a_mask_of_nothing_but_specks_gets_a_hint(page: Page, photo_file: Path, tmp_path: Path) -> None:
    open_photo(page, photo_file)
    hint = page.locator("#generate-hint")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for left in range(0, 200, 20):
        mask[40:43, left : left + 3] = 255  # ten specks, 0.14 % of the photo
    page.set_input_files("#mask-input", written(mask, tmp_path / "specks.png"))
    expect(hint).to_have_text("Only specks of a few pixels are painted over.")
    expect(page.locator("#generate")).to_be_enabled()
    paint_line(page, from_left=0.5, to_left=0.5)
    expect(hint).to_have_text("Brush on, or press Remove.")


def test_a_mask_that_cannot_be_drawn_is_reported(page: Page, photo_file: Path) -> None:
    page.route("**/raster/worker*.js", lambda route: route.abort())
    page.reload()
    open_photo(page, photo_file)
    expect(page.locator("#generate-hint")).to_have_text("The mask cannot be drawn. Reload the page; your work is kept.")
    expect(page.locator("#generate")).to_be_disabled()


@ON_A_PHONE_TOO
def test_the_best_result_is_first_and_try_again_shows_the_others_before_it_paints(page: Page, photo_file: Path) -> None:
    scores = [0.2, 0.9, 0.5]

    def rescore(route: Route) -> None:
        answer = route.fetch()
        generation = answer.json()
        for image, score in zip(generation["images"], scores, strict=False):
            image["score"] = score
        route.fulfill(response=answer, json=generation)

    page.route(re.compile(r"/api/generations/[0-9a-f-]{36}/$"), rescore)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    page.get_by_label("Images", exact=True).fill("3")
    close_settings(page)
    start(page)
    result, again = page.locator("#result-image"), page.get_by_role("button", name="Try again")
    for number, index in enumerate((1, 2, 0), start=1):
        expect(page.locator("#result-summary")).to_have_text(re.compile(f"^{number} of 3: Removed"))
        expect(result).to_have_attribute("src", re.compile(f"/images/{index}/"))
        if number < 3:
            again.click()
    first = page.url
    again.click()
    expect(page).not_to_have_url(first)
    expect(page.locator("#result-summary")).to_have_text(re.compile("^1 of 3: Removed"))
    more_settings(page)
    page.get_by_label("Images", exact=True).fill("")
    close_settings(page)
    again.click()
    expect(page.locator("#result-summary")).to_have_text(re.compile("^Removed"))
