"""The panel of the steps: they are hidden, painted back and run again, on a desktop and a phone."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.accessibility import violations
from tests.browser.devices import ON_A_PHONE_TOO
from tests.browser.editor_page import generate, is_red, open_photo, paint_line

pytestmark = pytest.mark.browser

HIGH, LOW = 0.3, 0.7
"""Where the two lines are painted, as shares of the photo's height."""


def erase(page: Page, *, down: float) -> None:
    """Paint a line, have it removed, and keep the result."""
    paint_line(page, from_left=0.45, to_left=0.55, down=down)
    generate(page)
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")


def two_steps(page: Page, photo_file: Path) -> Locator:
    """The items of the open panel, after two edits of a photo."""
    page.goto("/")
    open_photo(page, photo_file)
    erase(page, down=HIGH)
    erase(page, down=LOW)
    return opened(page, 2)


def opened(page: Page, count: int) -> Locator:
    page.locator("#steps-button").click()
    items = page.locator("#steps-list li")
    expect(items).to_have_count(count)
    return items


def pixels_shown(page: Page) -> NDArray[np.int_]:
    """What the panel downloads."""
    url = page.locator("#steps-download").get_attribute("href")
    assert url is not None
    return np.asarray(Image.open(io.BytesIO(page.request.get(url).body())).convert("RGB"), int)


def pixels_after(page: Page, count: int) -> NDArray[np.int_]:
    """What the panel downloads, opened anew."""
    opened(page, count)
    return pixels_shown(page)


def changed_rows(page: Page, photo_file: Path) -> tuple[int, int]:
    """How many pixels of the upper and of the lower half differ from the photo."""
    photo = np.asarray(Image.open(photo_file).convert("RGB"), int)
    differs = (pixels_shown(page) != photo).any(axis=2)
    half = len(photo) // 2
    return int(differs[:half].sum()), int(differs[half:].sum())


def draft_of(page: Page) -> dict[str, Any]:
    document: dict[str, Any] = page.request.get("/api/draft/").json()["document"]
    return document


@ON_A_PHONE_TOO
@pytest.mark.smoke
def test_a_step_is_hidden_and_undo_brings_it_back(page: Page, photo_file: Path) -> None:
    items = two_steps(page, photo_file)
    assert violations(page) == []
    expect(page.locator("#steps-photo")).to_be_visible()
    upper, lower = changed_rows(page, photo_file)
    assert min(upper, lower) > 0
    first = page.get_by_role("button", name="Step 1: Removed", exact=True)
    first.click()
    expect(items.nth(1)).to_contain_text("Hidden")
    expect(first).to_have_attribute("aria-pressed", "false")
    expect(first).to_be_focused()
    assert changed_rows(page, photo_file) == (0, lower)
    expect(items.get_by_text("Made on a hidden step")).to_have_count(2)
    expect(items.get_by_text("Made on a hidden step").first).to_be_hidden()
    page.keyboard.press("Escape")
    page.locator("[data-command=undo]").first.click()
    opened(page, 2)
    expect(items.nth(1)).not_to_contain_text("Hidden")
    assert changed_rows(page, photo_file) == (upper, lower)
    page.keyboard.press("Escape")
    page.locator("[data-command=redo]").first.click()
    opened(page, 2)
    expect(items.nth(1)).to_contain_text("Hidden")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    opened(page, 2)
    expect(items.nth(1)).to_contain_text("Hidden")


@ON_A_PHONE_TOO
def test_what_the_steps_show_is_shared_by_a_link(page: Page, browser: Browser, photo_file: Path) -> None:
    two_steps(page, photo_file)
    page.get_by_role("button", name="Step 1: Removed", exact=True).click()
    expect(page.locator("#steps-list li").last).to_contain_text("Hidden")
    shown = pixels_shown(page)
    page.locator("#steps-share").click()
    page.get_by_label("Name on the page").fill("The garden")
    page.get_by_text("before and after").click()
    page.get_by_role("button", name="Create a link").click()
    link = page.locator(".share-link code").inner_text()
    assert violations(page) == []
    visitor = browser.new_context().new_page()
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="The garden")).to_be_visible()
    expect(visitor.get_by_alt_text("The photo as it was")).to_be_visible()
    picture = visitor.request.get(f"{link}picture/").body()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int), shown)
    visitor.context.close()
    page.get_by_role("link", name="Back to the editor").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    assert np.array_equal(pixels_after(page, 2), shown)


@ON_A_PHONE_TOO
def test_a_step_is_painted_back_in_part(page: Page, photo_file: Path) -> None:
    items = two_steps(page, photo_file)
    upper, lower = changed_rows(page, photo_file)
    page.get_by_role("button", name="Paint back step 1").click()
    expect(page.locator("#steps-bar")).to_contain_text("as it was before this step")
    expect(page.locator("#generate")).to_be_hidden()
    paint_line(page, from_left=0.30, to_left=0.48, down=HIGH)
    assert is_red(page, across=0.46, down=HIGH)
    page.get_by_role("button", name="Done", exact=True).click()
    expect(page.locator("#steps-bar")).to_be_hidden()
    expect(page.locator("#generate")).to_be_visible()
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")
    opened(page, 2)
    expect(items.nth(1)).to_contain_text("Painted back in part")
    now = changed_rows(page, photo_file)
    assert 0 < now[0] < upper
    assert now[1] == lower
    page.get_by_role("button", name="Paint back step 1").click()
    expect(page.locator("#photo-covered")).not_to_have_text("nothing to repaint yet")
    assert is_red(page, across=0.46, down=HIGH), "what was painted back is there to be changed"
    page.get_by_role("button", name="Back to the photo").click()
    expect(page.locator("#steps-bar")).to_be_hidden()


def test_a_step_is_run_again_and_replaced(page: Page, photo_file: Path) -> None:
    items = two_steps(page, photo_file)
    before = [step["generation"] for step in stack_of(page)["steps"]]
    page.get_by_role("button", name="Run again step 1").click()
    expect(page.locator("#steps-bar")).to_contain_text("This step again")
    expect(page.locator("#photo-covered")).not_to_have_text("nothing to repaint yet")
    assert is_red(page, down=HIGH), "its mask is there"
    paint_line(page, from_left=0.6, to_left=0.7, down=HIGH)
    generate(page)
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")
    opened(page, 2)
    after = [step["generation"] for step in stack_of(page)["steps"]]
    assert (after[0] != before[0], after[1]) == (True, before[1])
    expect(items).to_have_count(2)
    upper, lower = changed_rows(page, photo_file)
    assert min(upper, lower) > 0


def test_two_masks_that_are_painted_at_the_same_time_become_two_steps(page: Page, photo_file: Path) -> None:
    page.goto("/")
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55, down=HIGH)
    held: list[Route] = []
    left = threading.Event()
    # Its end is not known before it is left.
    page.route("**/api/generations/*/", lambda route: route.continue_() if left.is_set() else held.append(route))
    page.locator("#generate").click()
    expect(page.locator("#leave")).to_be_enabled()
    page.get_by_role("button", name="Go on meanwhile").click()
    left.set()
    for route in held:
        route.continue_()
    paint_line(page, from_left=0.45, to_left=0.55, down=LOW)
    generate(page)
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")
    opened(page, 2)
    upper, lower = changed_rows(page, photo_file)
    assert min(upper, lower) > 0
    assert stack_of(page)["image"]["is_flattened"]


def stack_of(page: Page) -> dict[str, Any]:
    """The stack of the photo that is open, as the server has it."""
    expect(page.locator("#saved")).to_have_text("Saved")
    document = draft_of(page)
    entry = [entry for entry in document["entries"][: document["cursor"]] if entry["kind"] == "photo"][-1]
    url = f"/api/stacks/{entry['stack']['id']}/" if "stack" in entry else f"/api/generations/{entry['parent']}/stack/"
    stack: dict[str, Any] = page.request.get(url).json()
    return stack
