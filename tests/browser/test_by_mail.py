"""Sign-up and a new password by links of e-mails, after the administrator has set the site up, each on a phone too."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, watched_page
from tests.browser.devices import Device
from tests.support.installation import Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("device", ["phone", pytest.param("desktop", marks=pytest.mark.full)], indirect=True),
]
people = (f"reader{number}@example.org" for number in count(1))


class Mailbox:
    """The e-mails that an installation writes to files, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read: set[bytes] = set()

    def link_to(self, address: str, path: str) -> str:
        """The link with this path in the next e-mail to an address."""
        found: list[str] = []

        def look() -> bool:
            for file in sorted(self.folder.glob("*.log")):
                for raw in file.read_bytes().split(b"-" * 79 + b"\n"):
                    message = email.message_from_bytes(raw.strip(), policy=email.policy.default)
                    if raw in self.read or message["To"] != address:
                        continue
                    self.read.add(raw)
                    found.extend(re.findall(rf"http\S+{path}\S+", message.get_content()))
            return bool(found)

        Installation.wait_until(look)
        return found[0]


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Mailbox:
    return Mailbox(tmp_path_factory.mktemp("mails"))


@pytest.fixture
def site(mailbox: Mailbox, tmp_path: Path) -> Iterator[Installation]:
    """A new installation: its link creates one administrator."""
    site = Installation(tmp_path / "site", DREAMLAYER_EMAIL_URL=f"filemail:///{mailbox.folder}")
    site.migrate()
    with site.serving():
        yield site


@pytest.fixture
def page(browser: Browser, site: Installation, device: Device) -> Iterator[Page]:
    yield from watched_page(device.context(browser, base_url=site.url))


def fill_in(page: Page, fields: dict[str, str], button: str) -> None:
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("main").get_by_role("button", name=button, exact=True).click()


def heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    assert violations(page) == []


def test_from_the_link_of_the_log_to_the_first_edit_and_by_mail_to_a_new_password(
    page: Page, site: Installation, mailbox: Mailbox
) -> None:
    link = re.search(r"http://\S+(/setup/\S+)", site.log)
    assert link
    page.goto(link[1])
    heading(page, "Welcome to DreamLayer")
    new = {"Password": PASSWORD, "Password (again)": PASSWORD}
    fill_in(page, {"Email": next(people), **new}, "Create administrator")
    heading(page, "Your site is ready")
    page.get_by_role("link", name="Remove the rocket").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page.locator("#photo-name")).to_have_text("rocket.jpg")
    page.context.clear_cookies()

    person = next(people)
    page.goto("/accounts/signup/")
    fill_in(page, {"Email": person, "Password": PASSWORD}, "Create account")
    heading(page, "Look into your mail")
    page.goto(mailbox.link_to(person, "/accounts/confirm-email/"))
    heading(page, "Confirm your address")
    page.get_by_role("button", name="Confirm", exact=True).click()
    page.goto("/accounts/login/")
    fill_in(page, {"Email": person, "Password": PASSWORD}, "Sign in")
    page.wait_for_selector("#editor[data-ready]")
    page.context.clear_cookies()

    page.goto("/accounts/login/")
    page.locator("a[href^='/accounts/password/reset/']").click()
    fill_in(page, {"Email": person}, "Reset password")
    page.goto(mailbox.link_to(person, "/accounts/password/reset/key/"))
    heading(page, "New password")
    other = PASSWORD[::-1]
    fill_in(page, {"New Password": other, "New Password (again)": other}, "Save")
    page.goto("/accounts/login/")
    fill_in(page, {"Email": person, "Password": PASSWORD}, "Sign in")
    expect(page.get_by_text("not correct")).to_be_visible()
    fill_in(page, {"Password": other}, "Sign in")
    page.wait_for_selector("#editor[data-ready]")
