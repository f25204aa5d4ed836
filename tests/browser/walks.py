"""Walks of a newcomer: erase from the sample photo, erase from a photo of one's own, cover a large photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data

from tests.browser.conftest import PASSWORD, emails
from tests.browser.devices import Point, drag

Done = Callable[[str], None]
"""Called with the name of each step that is done."""
ROCKET: tuple[Point, Point] = ((0.5, 0.31), (0.5, 0.95))
"""From the tip to the pad, on the sample photo."""
STROKES = 6
LARGE = (6000, 4000)


def ignored(_: str) -> None:
    pass


def erase_from_sample(page: Page, *, done: Done = ignored) -> None:
    """From opening the first page to the sample photo without its rocket."""
    page.goto("/")
    done("page")
    page.wait_for_selector("#hint:not([hidden])")
    drag(page, "#surface", *ROCKET)
    done("painted")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("nothing else touched")
    expect(page.get_by_alt_text("The photo as painted")).to_be_visible()
    done("erased")


def erase_from_own_photo(page: Page, photo: Path, *, done: Done = ignored) -> None:
    """From opening the first page, through sign-up, to a photo of one's own without what was painted over."""
    page.goto("/")
    page.set_input_files("#own-photo", photo)
    page.wait_for_url("**/accounts/signup/**")
    page.get_by_label("Email").fill(next(emails))
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    done("form filled in")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    done("signed up, photo open")
    drag(page, "#in-place", (0.4, 0.5), (0.55, 0.5))
    page.get_by_role("button", name="Remove", exact=True).click()  # without a model it does not ask for a prompt
    expect(page.locator("#result-summary")).to_contain_text("nothing else touched")
    done("erased")


def cover_large_photo(page: Page, photo: Path, *, done: Done = ignored) -> None:
    """Open a photo in the editor and paint all of it over, by strokes of the largest brush."""
    page.set_input_files("#photo-input", photo)
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    done("photo open")
    options = page.locator("#more-options-button")  # of a phone
    if options.is_visible():
        options.click()
    page.get_by_label("Measure the size").select_option("in pixels of the photo")
    if options.is_visible():
        options.click()
        expect(page.locator("#more-options")).to_be_hidden()
    page.locator("#tool-size").fill("1000")
    for number in range(STROKES):
        down = number / (STROKES - 1)
        drag(page, "#in-place", (0, down), (1, down))
    expect(page.locator("#photo-covered")).to_have_text("100 % to repaint")
    done(f"{STROKES} strokes")


def large_photo(path: Path) -> Path:
    """A photo of scikit-image, enlarged to 24 megapixels."""
    Image.fromarray(data.coffee()).resize(LARGE, Image.Resampling.BICUBIC).save(path, quality=90)
    return path
