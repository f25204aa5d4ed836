"""What lies at the hole: the progress while it is painted, the result with its actions, on a computer and a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Page, expect

from tests.browser.conftest import Run
from tests.browser.devices import ON_A_PHONE_TOO, Device, drag, press, reveal
from tests.browser.editor_page import (
    close_settings,
    generate,
    is_red,
    more_settings,
    open_photo,
    paint_line,
    photo_box,
    start,
    wait_on_a_fake_generation,
)

pytestmark = pytest.mark.browser

NOTE_PROGRESS = """
    window.seen = []
    new MutationObserver(() => {
        for (const id of ["shimmer", "progress"]) {
            if (document.getElementById(id)?.hidden === false) window.seen.push(id)
        }
    }).observe(document, { subtree: true, attributes: true, attributeFilter: ["hidden"] })
"""
"""Collects the ids of what only painting shows."""
HOLE = {"from_left": 0.45, "to_left": 0.55, "down": 0.4}


def box_of(page: Page, selector: str) -> FloatRect:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box


def test_the_progress_lies_beside_the_shimmering_hole_and_follows_the_zoom(page: Page, photo_file: Path) -> None:
    state, sockets = wait_on_a_fake_generation(page)
    open_photo(page, photo_file)
    paint_line(page, **HOLE)
    start(page)
    bar, shimmer = page.locator("#hole-bar"), page.locator("#shimmer")
    expect(shimmer).to_be_visible()
    expect(bar).to_have_attribute("data-docked", "false")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    photo, hole, beside = photo_box(page), box_of(page, "#shimmer"), box_of(page, "#hole-bar")
    assert (
        hole["x"] < photo["x"] + 0.45 * photo["width"] < photo["x"] + 0.55 * photo["width"] < hole["x"] + hole["width"]
    )
    assert hole["width"] < 0.3 * photo["width"]
    assert 0 < beside["y"] - (hole["y"] + hole["height"]) < 40
    assert page.evaluate("getComputedStyle(document.getElementById('shimmer')).maskImage").startswith('url("blob:')
    page.get_by_role("button", name="Zoom in").click()
    larger, moved = box_of(page, "#shimmer"), box_of(page, "#hole-bar")
    assert larger["width"] > 1.1 * hole["width"]
    assert moved["y"] >= larger["y"] + larger["height"]
    for _ in range(9):
        page.get_by_role("button", name="Zoom in").click()
    expect(bar).to_have_attribute("data-docked", "true")  # no room beside it
    state["status"] = "cancelled"
    sockets[-1].send(json.dumps({"type": "cancelled"}))
    expect(page.locator("#generate-message")).to_have_text("Cancelled. Your mask is still here.")
    expect(shimmer).to_be_hidden()
    expect(bar).to_be_hidden()
    expect(page.locator("#generate")).to_be_visible()


def test_a_reload_shows_the_result_at_once_without_the_progress_of_painting(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, **HOLE)
    generate(page)
    expect(page.locator("#shimmer")).to_be_hidden()
    expect(page.locator("#saved")).to_have_text("Saved")
    page.add_init_script(NOTE_PROGRESS)
    page.reload()
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#hole-bar")).to_have_attribute("data-docked", "false")  # the hole is found
    page.get_by_role("button", name="Back").click()
    paint_line(page, from_left=0.2, to_left=0.25, down=0.2)
    expect(page.locator("#generate")).to_be_enabled()
    assert page.evaluate("window.seen") == []


@ON_A_PHONE_TOO
def test_the_result_of_an_extended_photo_says_that_it_was_extended(
    page: Page, photo_file: Path, device: Device
) -> None:
    open_photo(page, photo_file)
    press(page, "Extend the photo")
    right = reveal(page, page.locator("#tool-frame").get_by_label("Right"))
    right.fill("24")
    right.press("Tab")
    page.keyboard.press("Escape")  # closes the popover of a phone
    generate(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile(r"^Extended in "))


def test_a_painting_that_ends_before_its_hole_is_located_leaves_no_shimmer(run: Run) -> None:
    body = """
        const element = (id) => Object.assign(document.createElement("div"), { id, hidden: id === "shimmer" })
        const [bar, shimmer, zoom, editor] = ["bar", "shimmer", "zoom", "editor"].map(element)
        editor.append(shimmer)
        document.body.append(editor, bar, zoom)
        let found
        const shape = new Promise((resolve) => { found = resolve })
        const mask = { coverage: () => 1, shape: () => shape, viewport: { scale: 1, left: 0, top: 0 }, free: {} }
        const hole = new m.Hole({ bar, shimmer, zoom, editor, dock: bar }, mask)
        const located = hole.locate({ width: 2, height: 2 }, { left: 0, top: 0, right: 0, bottom: 0 })
        hole.startShimmer()
        if (ends) hole.stopShimmer()
        found({ width: 2, height: 2, rgba: new Uint8ClampedArray(16).fill(255) })
        await located
        return shimmer.hidden
    """
    assert run("editor/view/hole", f"const ends = false; {body}") is False
    assert run("editor/view/hole", f"const ends = true; {body}") is True


def test_nothing_moves_where_less_motion_is_wanted(page: Page, photo_file: Path) -> None:
    page.emulate_media(reduced_motion="reduce")
    state, sockets = wait_on_a_fake_generation(page)
    open_photo(page, photo_file)
    paint_line(page, **HOLE)
    start(page)
    expect(page.locator("#shimmer")).to_be_visible()
    expect(page.locator("#progress-bar")).to_be_visible()
    running = "document.getAnimations().filter(({ playState }) => playState === 'running').length"
    assert page.evaluate(running) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(running) > 0
    page.emulate_media(reduced_motion="reduce")
    expect(page.locator("#leave")).to_be_enabled()  # it is accepted, and its socket open
    state["status"] = "cancelled"
    sockets[-1].send(json.dumps({"type": "cancelled"}))
    expect(page.locator("#shimmer")).to_be_hidden()
    page.unroute_all()
    generate(page)
    expect(page.locator("#result-image")).to_have_css("animation-name", "none")


def test_the_actions_of_a_small_result_lie_beside_it(page: Page, photo_file: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 860})
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55, down=0.8)
    generate(page)
    for zooms in (0, 3):
        for _ in range(zooms):
            page.get_by_role("button", name="Zoom out").click()
        photo, bar = photo_box(page), box_of(page, "#hole-bar")
        assert photo["y"] + photo["height"] <= bar["y"] < photo["y"] + photo["height"] + 40
        assert bar["y"] + bar["height"] < box_of(page, ".dock")["y"]


@ON_A_PHONE_TOO
def test_variations_are_flipped_and_kept_at_the_hole_and_the_strip_remembers_which(
    page: Page, photo_file: Path, device: Device
) -> None:
    open_photo(page, photo_file)
    paint_line(page, **HOLE)
    more_settings(page)
    page.get_by_label("Images", exact=True).fill("3")
    close_settings(page)
    page.emulate_media(reduced_motion="reduce")
    generate(page)
    hole = photo_box(page)
    beside = box_of(page, "#hole-bar")
    if device.pointer == "mouse":
        assert beside["y"] > hole["y"] + 0.4 * hole["height"]
        assert beside["y"] + beside["height"] < box_of(page, ".dock")["y"]
    for name in ("Back", "Try again", "Keep"):
        expect(page.locator("#hole-bar").get_by_role("button", name=name)).to_be_visible()
    shown = page.locator("#result-image")
    address = str(shown.get_attribute("src")).rpartition("images/")[0]
    images = page.request.get(page.url.split("/?")[0].rstrip("/") + address).json()["images"]
    best, second, third = sorted(range(3), key=lambda index: -images[index]["score"])
    expect(shown).to_have_attribute("src", f"{address}images/{best}/")
    page.get_by_role("button", name="The next result").click()
    page.keyboard.press("ArrowRight")
    expect(shown).to_have_attribute("src", f"{address}images/{third}/")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.get_by_role("radio", name="Result 2")).to_be_checked()
    expect(shown).to_have_attribute("src", f"{address}images/{second}/")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    step = page.locator("#filmstrip img").nth(1)
    expect(step).to_have_attribute("src", f"{address}images/{second}/thumbnail/")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    paint_line(page, from_left=0.2, to_left=0.25, down=0.2)
    generate(page)
    expect(step).to_have_attribute("src", f"{address}images/{second}/thumbnail/")


@pytest.mark.parametrize("device", ["phone"], indirect=True)
def test_on_a_phone_every_tool_is_reached_by_touch_without_scrolling_sideways(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    fits = """() => ["toolbar", "tool-options"].every((id) => {
        const row = document.getElementById(id), edge = row.parentElement.getBoundingClientRect().right
        return [...row.children].every((child) => child.matches(":popover-open")
            || child.getBoundingClientRect().right <= edge)
    })"""
    names = ("Magic wand", "Lasso", "Polygon", "Rectangle", "Ellipse", "Extend the photo")
    for name in ("Brush", "Eraser", "Select an object"):
        page.get_by_role("button", name=name, exact=True).tap()
        assert page.evaluate(fits), name
    more = page.locator("#more-tools-button")
    for name in names:
        more.tap()
        page.get_by_role("button", name=name, exact=True).tap()
        expect(more).to_have_accessible_name(f"More tools, {name} chosen")
        expect(page.locator("#more-tools")).to_be_hidden()
        assert page.evaluate(fits), name
    more.tap()
    page.get_by_role("button", name="Rectangle", exact=True).tap()
    page.get_by_role("button", name="Options", exact=True).tap()
    page.locator("#tool-box").get_by_label("Width").fill("60")
    page.get_by_role("button", name="Add").tap()
    page.locator("#tool-options").press("Escape")
    page.get_by_role("button", name="More for the mask").tap()
    page.get_by_role("button", name="Clear").tap()
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")
    drag(page, "#in-place", (0.4, 0.4), (0.6, 0.6))
    assert is_red(page)
    page.locator("#generate").tap()
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#hole-bar")).to_have_attribute("data-docked", "true")
    keep, dock = box_of(page, "#use-result"), box_of(page, ".dock")
    assert dock["y"] < keep["y"]
    assert keep["height"] >= 40
    page.locator("#use-result").tap()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
