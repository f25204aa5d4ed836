"""The first page for visitors: erase from the sample photo, then bring a photo of one's own through sign-up."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, emails
from tests.browser.devices import ON_A_PHONE_TOO, ON_EVERY_DEVICE, drag
from tests.browser.walks import ROCKET

pytestmark = pytest.mark.browser


def red_pixels(page: Page) -> int:
    return int(
        page.evaluate(
            """() => {
                const { data } = document.getElementById("marks").getContext("2d").getImageData(0, 0, 640, 427)
                let count = 0
                for (let at = 3; at < data.length; at += 4) count += data[at] > 0
                return count
            }"""
        )
    )


@pytest.mark.smoke
@ON_EVERY_DEVICE
def test_a_visitor_erases_the_rocket_compares_and_takes_it_back(visitor: Page) -> None:
    visitor.goto("/")
    erase = visitor.get_by_role("button", name="Remove", exact=True)
    expect(erase).to_be_disabled()
    drag(visitor, "#surface", *ROCKET)
    assert red_pixels(visitor) > 5000
    erase.click()
    expect(visitor.get_by_role("status")).to_contain_text("nothing else touched")
    result = visitor.get_by_alt_text("The photo as painted")
    expect(result).to_be_visible()
    assert red_pixels(visitor) == 0
    expect(erase).to_be_disabled()
    visitor.get_by_role("button", name="Before").click()
    expect(result).to_be_hidden()
    visitor.get_by_role("button", name="Before").click()

    drag(visitor, "#surface", (0.85, 0.5), (0.9, 0.5))  # a second object, erased together with the first
    erase.click()
    expect(erase).to_be_disabled()
    expect(visitor.get_by_role("status")).to_contain_text("nothing else touched")
    visitor.get_by_role("button", name="Undo").click()
    expect(result).to_be_hidden()
    assert red_pixels(visitor) > 5000
    visitor.keyboard.press("Control+z")
    assert red_pixels(visitor) == 0


@pytest.mark.parametrize("device", ["phone"], indirect=True)
def test_without_a_pointer_the_rocket_is_marked_by_a_button_and_errors_are_shown(visitor: Page) -> None:
    visitor.goto("/")
    assert visitor.evaluate("document.getAnimations().length") > 0
    visitor.emulate_media(reduced_motion="reduce")
    assert visitor.evaluate("document.getAnimations().length") == 0
    visitor.get_by_role("button", name="Mark it").focus()
    visitor.keyboard.press("Enter")
    visitor.route("**/sample/", lambda route: route.fulfill(status=503, json={"message": "Many are trying this."}))
    erase = visitor.get_by_role("button", name="Remove", exact=True)
    erase.tap()
    expect(visitor.get_by_role("alert")).to_have_text("Many are trying this.")
    visitor.unroute("**/sample/")
    erase.tap()
    expect(visitor.get_by_role("status")).to_contain_text("nothing else touched")
    assert violations(visitor) == []
    assert visitor.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.smoke
@ON_A_PHONE_TOO
def test_a_photo_that_a_visitor_brings_is_open_after_sign_up(visitor: Page, photo_file: Path) -> None:
    visitor.goto("/")
    with visitor.expect_file_chooser() as chooser:
        visitor.get_by_role("button", name="Extend Paint more around it").click()
    chooser.value.set_files(photo_file)
    visitor.wait_for_url("**/accounts/signup/**")
    expect(visitor.get_by_text("opens when you are signed in")).to_contain_text(photo_file.name)
    visitor.get_by_label("Email").fill(next(emails))
    visitor.get_by_label("Password", exact=True).fill(PASSWORD)
    visitor.get_by_role("button", name="Create account").click()
    visitor.wait_for_selector("#editor[data-state=editing]")
    expect(visitor.locator("#photo-name")).to_have_text(photo_file.name)
    expect(visitor.locator("#generate")).to_have_text("Extend")
    expect(visitor.locator("#surface")).to_have_attribute("data-tool", "frame")
    kept = visitor.evaluate("import('pending_photo').then(({ pendingPhoto }) => pendingPhoto())")
    assert kept is None  # opened once
