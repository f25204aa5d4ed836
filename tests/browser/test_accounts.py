"""The account in a real browser: second factors, passkeys of a virtual authenticator, usage, export, deletion."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.accounts.codes import PERIOD_SECONDS, code_of_app
from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, confirm, sign_up, watched_page
from tests.browser.painting import paint
from tests.installation import Installation

pytestmark = pytest.mark.browser

VIOLATIONS = """
window.violations = []
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective))
"""


@pytest.fixture
def context(browser: Browser, site: Installation) -> BrowserContext:
    """At `localhost`: passkeys belong to a host name."""
    context = browser.new_context(base_url=f"http://localhost:{site.port}", viewport={"width": 390, "height": 844})
    context.add_init_script(VIOLATIONS)
    return context


@pytest.fixture
def phone(context: BrowserContext) -> Iterator[Page]:
    for page in watched_page(context):
        yield page
        assert page.evaluate("window.violations") == []


def enter_password(page: Page, email: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.goto("/accounts/logout/")
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()


def lasting_code(secret: str) -> str:
    """A code that stays valid for some seconds."""
    left = PERIOD_SECONDS - time.time() % PERIOD_SECONDS
    time.sleep(left if left < 5 else 0)
    return code_of_app(secret)


def test_an_app_and_a_recovery_code_sign_in_and_the_app_can_be_turned_off(phone: Page) -> None:
    email = sign_up(phone)
    phone.goto("/account/")
    phone.get_by_role("link", name="Set up two-factor sign-in").click()
    phone.get_by_role("link", name="Set up an authenticator app").click()
    confirm(phone)
    picture = phone.get_by_alt_text("QR code of the secret below")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    phone.get_by_text("Type the secret instead").click()
    secret = phone.locator("#authenticator_secret").inner_text()
    phone.get_by_label("Authenticator code").fill("000000")
    phone.get_by_role("button", name="Turn on").click()
    expect(phone.get_by_text("Incorrect code")).to_be_visible()
    assert violations(phone) == []
    phone.get_by_label("Authenticator code").fill(lasting_code(secret))
    phone.get_by_role("button", name="Turn on").click()
    codes = phone.locator("#recovery_codes li")
    expect(codes).to_have_count(10)
    assert violations(phone) == []
    recovery_code = codes.first.inner_text()
    with phone.expect_download() as download:
        phone.get_by_role("link", name="Download").click()
    assert recovery_code in download.value.path().read_text()

    sign_out(phone)
    enter_password(phone, email)
    phone.get_by_label("Code").fill(recovery_code)
    phone.get_by_role("button", name="Sign in", exact=True).click()
    phone.wait_for_url("**/")
    sign_out(phone)
    enter_password(phone, email)
    phone.get_by_label("Code").fill(recovery_code)  # used
    phone.get_by_role("button", name="Sign in", exact=True).click()
    expect(phone.get_by_text("Incorrect code")).to_be_visible()
    phone.get_by_label("Code").fill(lasting_code(secret))
    phone.get_by_role("button", name="Sign in", exact=True).click()
    phone.wait_for_url("**/")

    phone.goto("/accounts/2fa/totp/deactivate/")
    confirm(phone)
    phone.get_by_role("button", name="Turn off").click()
    expect(phone.get_by_text("A second step after your password")).to_be_visible()


def test_a_passkey_signs_in_alone_and_after_the_password_and_sessions_are_listed(
    context: BrowserContext, phone: Page
) -> None:
    tools = context.new_cdp_session(phone)
    tools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    made = tools.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "isUserVerified": True}})
    email = sign_up(phone)
    phone.goto("/account/")
    phone.get_by_role("link", name="Add a passkey").click()
    confirm(phone)
    phone.get_by_label("Name").fill("<b>blue</b> key")
    phone.get_by_role("button", name="Add", exact=True).click()
    expect(phone.locator("#recovery_codes li")).to_have_count(10)
    phone.goto("/accounts/2fa/webauthn/")
    expect(phone.get_by_role("cell").get_by_text("<b>blue</b> key", exact=True)).to_be_visible()
    assert violations(phone) == []
    for name in ("Rename", "Remove"):
        phone.get_by_role("link", name=name).click()
        assert violations(phone) == []
        phone.go_back()

    sign_out(phone)
    phone.goto("/accounts/login/?next=/account/")
    phone.get_by_role("button", name="Use a passkey").click()
    expect(phone.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    sign_out(phone)
    enter_password(phone, email)
    expect(phone.get_by_role("heading", name="Second step")).to_be_visible()
    assert violations(phone) == []
    phone.get_by_role("button", name="Use a passkey or security key").click()
    phone.wait_for_selector("#editor[data-ready]")

    phone.goto("/accounts/sessions/")
    expect(phone.get_by_text("This one")).to_be_visible()

    sign_out(phone)
    tools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": made["authenticatorId"]})
    tools.send(
        "WebAuthn.addVirtualAuthenticator", {"options": {**options, "isUserVerified": False}}
    )  # a device that knows no passkey and no finger
    phone.goto("/accounts/login/")
    phone.get_by_role("button", name="Use a passkey").click()
    expect(phone.get_by_role("alert").filter(has_text="Try again")).to_be_visible()


def test_a_user_sees_the_usage_ends_another_session_takes_everything_along_and_deletes_the_account(
    browser: Browser, context: BrowserContext, phone: Page
) -> None:
    email = sign_up(phone)
    (pk,) = paint(phone, 1)
    other_context = browser.new_context(base_url=phone.url)
    other = other_context.new_page()
    enter_password(other, email)
    other.wait_for_selector("#editor[data-ready]")
    phone.goto("/accounts/sessions/")
    phone.get_by_role("button", name="Sign out Chrom").click()
    expect(phone.get_by_text("You are signed in nowhere else.")).to_be_visible()
    other.goto("/history/")
    expect(other.get_by_role("button", name="Sign in", exact=True)).to_be_visible()

    phone.goto("/account/")
    usage = phone.locator(".usage").filter(has_text="Generations in the last 24 hours")
    expect(usage.locator(".figure")).to_have_text(re.compile(r"^\s*1\b"))
    with phone.expect_download() as download:
        phone.get_by_role("link", name="Export", exact=True).click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert [name for name in archive.namelist() if pk in name]
    phone.get_by_role("link", name="Manage storage").click()
    phone.get_by_label("Days").fill("30")
    phone.get_by_role("button", name="Save").click()
    phone.goto("/account/")
    expect(phone.get_by_text("Deleted 30 days after their end.")).to_be_visible()

    phone.get_by_role("link", name="Delete account").click()
    confirm(phone)
    expect(phone.get_by_text("1 generation with all pictures")).to_be_visible()
    address = phone.get_by_label("Your email address")
    address.fill("somebody@example.org")
    phone.get_by_role("button", name="Delete my account").click()
    expect(phone.get_by_text("This is not the address of your account.")).to_be_visible()
    assert violations(phone) == []
    address.fill(email)
    phone.get_by_role("button", name="Delete my account").click()
    expect(phone.get_by_text("Your account and everything in it are deleted.")).to_be_visible()
    enter_password(phone, email)
    expect(phone.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(phone.get_by_text("not correct")).to_be_visible()
    other_context.close()
