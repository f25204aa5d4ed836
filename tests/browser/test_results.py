"""Several results of one mask: one more with another seed, and all of them side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.devices import ON_A_PHONE_TOO, Device, press
from tests.browser.editor_page import (
    close_settings,
    generate,
    kept_generation,
    more_settings,
    open_photo,
    paint_line,
    start,
)

pytestmark = pytest.mark.browser


def painted(page: Page, photo_file: Path, *, images: str = "") -> dict[str, Any]:
    """Paint something out; return the generation."""
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55, down=0.4)
    more_settings(page)
    page.get_by_label("Images", exact=True).fill(images)
    close_settings(page)
    generate(page)
    return kept_generation(page)


@ON_A_PHONE_TOO
def test_more_like_this_adds_a_result_of_the_same_settings_and_another_seed(page: Page, photo_file: Path) -> None:
    first = painted(page, photo_file, images="2")
    more_settings(page)
    page.get_by_label("Grow mask").fill("7")  # for what is painted next, not for more of what is shown
    page.get_by_label("Fade mask").fill("3")
    close_settings(page)
    press(page, "More like this")
    summary = page.locator("#result-summary")
    expect(summary).to_have_text(re.compile(r"^3 of 3: Removed in "))
    second = kept_generation(page)
    assert second["id"] != first["id"]
    wanted, got = dict(first["metadata"]["requested"]), dict(second["metadata"]["requested"])
    assert got.pop("seed") != wanted.pop("seed", first["metadata"]["seed"])
    assert (wanted.pop("num_images"), got.pop("num_images", 1)) == (2, 1)
    assert got == wanted
    assert page.request.get(first["mask"]).body() == page.request.get(second["mask"]).body()
    expect(page.locator("#mask-grow")).to_have_value("7")
    expect(summary).to_contain_text(f"Seed {second['metadata']['seed']}")
    expect(page.locator("#figure-seed")).to_have_text(str(second["metadata"]["seed"]))
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.get_by_role("radio", name=re.compile("^Result"))).to_have_count(3)
    expect(page.get_by_role("radio", name="Result 3")).to_be_checked()
    page.keyboard.press("ArrowLeft")
    expect(summary).to_have_text(re.compile("^2 of 3: "))
    assert kept_generation(page)["id"] == first["id"]
    kept = str(page.locator("#result-image").get_attribute("src"))
    press(page, "Keep")
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#filmstrip [aria-current] img")).to_have_attribute("src", f"{kept}thumbnail/")


def test_the_palette_asks_for_more_and_a_refusal_leaves_the_results_there(page: Page, photo_file: Path) -> None:
    painted(page, photo_file, images="2")
    refusal = {"code": "rate_limited", "message": "Your limit is reached."}
    page.route("**/api/img2img", lambda route: route.fulfill(status=429, json=refusal))
    page.keyboard.press("Control+k")
    page.get_by_label("Find a command").fill("more like this result")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Your limit is reached.")).to_be_visible()
    expect(page.locator("#result-summary")).to_have_text(re.compile("^1 of 2: Removed in "))
    expect(page.locator("#result-image")).to_be_visible()
    page.unroute("**/api/img2img")
    page.keyboard.press("m")
    expect(page.locator("#result-summary")).to_have_text(re.compile("^3 of 3: Removed in "))


@ON_A_PHONE_TOO
def test_all_results_are_seen_side_by_side_and_chosen_by_click_or_key(
    page: Page, photo_file: Path, device: Device
) -> None:
    painted(page, photo_file, images="4")
    beside, cells = page.get_by_role("dialog", name="All results side by side"), page.locator(".beside-cell")
    press(page, "All results side by side")
    expect(cells).to_have_count(4)
    expect(cells.nth(0)).to_be_focused()
    for cell in cells.all():
        box = cell.bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= device.width
        assert 0 <= box["y"] < box["y"] + box["height"] <= device.height, "without scrolling"
        assert box["width"] > 150
    expect(cells.nth(1)).to_contain_text("Seed ")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.beside img')].every((image) => image.naturalWidth > 0)"
    )
    assert violations(page) == []
    cells.nth(2).click()
    expect(beside).to_have_count(0)
    expect(page.get_by_role("radio", name="Result 3")).to_be_checked()
    page.keyboard.press("g")
    expect(cells.nth(2)).to_have_attribute("aria-current", "true")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Result 2")).to_be_checked()
    page.keyboard.press("g")
    expect(cells.nth(1)).to_be_focused()
    page.keyboard.press("4")
    expect(page.locator("#result-summary")).to_have_text(re.compile("^4 of 4: "))
    page.keyboard.press("g")
    expect(cells.nth(3)).to_be_focused()
    page.keyboard.press("Escape")
    expect(beside).to_have_count(0)
    expect(page.locator("#result")).to_be_visible()
    press(page, "Back")
    page.keyboard.press("g")
    expect(beside).to_have_count(0)
    start(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile("^1 of 4: "))
