"""Pages and sentences for what the server refuses: too many attempts, an error of its own, a sample that is off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, emails, sign_up, watched_page
from tests.browser.database import change
from tests.browser.devices import ON_A_PHONE_TOO, Device, drag, press
from tests.browser.walks import ROCKET
from tests.support.installation import Installation

pytestmark = [pytest.mark.browser, pytest.mark.full]

ATTEMPTS_PER_MINUTE = 20
SPEND_SIGN_UPS = """async (count) => {
    for (; count; count--) await fetch(location.href, { method: "POST", body: new FormData(document.forms[0]) })
}"""
SPEND_SAMPLES = """async (count) => {
    const headers = { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value }
    for (; count; count--) await fetch("/sample/", { method: "POST", headers })
}"""


@pytest.fixture
def sampled(request: pytest.FixtureRequest) -> str:
    """DREAMLAYER_SAMPLE"""
    return str(getattr(request, "param", "true"))


@pytest.fixture
def page(browser: Browser, tmp_path: Path, device: Device, sampled: str) -> Iterator[Page]:
    """A page without a session, on an installation whose limits no other test uses."""
    installation = Installation(tmp_path, DREAMLAYER_SAMPLE=sampled)
    installation.migrate()
    with installation.serving():
        yield from watched_page(device.context(browser, base_url=installation.url))


@ON_A_PHONE_TOO
def test_after_many_attempts_a_visitor_reads_when_to_go_on(page: Page) -> None:
    page.goto("/")
    page.wait_for_selector("#hint:not([hidden])")
    drag(page, "#surface", *ROCKET)
    page.evaluate(SPEND_SAMPLES, ATTEMPTS_PER_MINUTE - 1)
    press(page, "Remove")
    expect(page.get_by_role("status")).to_contain_text("nothing else touched")
    drag(page, "#surface", (0.85, 0.5), (0.9, 0.5))
    press(page, "Remove")
    expect(page.get_by_role("alert")).to_have_text("You have tried this often. Wait a minute, or create an account.")
    expect(page.get_by_role("button", name="Remove", exact=True)).to_be_enabled()
    assert violations(page) == []

    page.goto("/accounts/signup/")
    page.evaluate(SPEND_SIGN_UPS, ATTEMPTS_PER_MINUTE)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Email").fill(next(emails))
    with page.expect_navigation() as answer:
        press(page, "Create account")
    assert (answer.value.status, answer.value.headers["retry-after"]) == (429, "60")
    expect(page.get_by_role("heading", name="Too many requests")).to_be_visible()
    expect(page.get_by_text("Try again in a minute.")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="Create account")).to_be_visible()


@ON_A_PHONE_TOO
@pytest.mark.parametrize("sampled", ["false"], indirect=True)
def test_without_a_sample_a_visitor_signs_in_and_an_error_of_the_server_has_a_page(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    expect(page).to_have_url(re.compile("/accounts/login/"))
    sign_up(page)
    change(tmp_path, "ALTER TABLE inpainting_batch RENAME TO away")
    answer = page.goto("/batches/")
    assert answer is not None
    assert answer.status == 500
    expect(page.get_by_role("heading", name="Server error")).to_be_visible()
    expect(page.get_by_text("The error is logged, and what you saved is kept.")).to_be_visible()
    assert violations(page) == []
    change(tmp_path, "ALTER TABLE away RENAME TO inpainting_batch")
    page.get_by_role("link", name="Back to the editor").click()
    page.wait_for_selector("#editor[data-ready]")
