"""The account in a real browser: second factors, passkeys of a virtual authenticator, usage, export, deletion."""

from __future__ import annotations

import hashlib
import re
import time
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.accounts.codes import PERIOD_SECONDS, code_of_app
from tests.browser.accessibility import violations
from tests.browser.conftest import PASSWORD, confirm, enter_password, sign_out, sign_up, watched_page
from tests.browser.devices import Device
from tests.browser.painting import paint
from tests.support.installation import Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("device", ["phone", pytest.param("desktop", marks=pytest.mark.full)], indirect=True),
]

INTERRUPTED_DOWNLOAD = """async (url) => {
    const first = await fetch(url), reader = first.body.getReader(), start = (await reader.read()).value.slice(0, 1000)
    await reader.cancel()
    const headers = { Range: `bytes=${start.length}-`, "If-Range": first.headers.get("ETag") }
    const rest = await fetch(url, { headers })
    const whole = await new Blob([start, await rest.arrayBuffer()]).arrayBuffer()
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole))
    return { status: rest.status, sha256: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") }
}"""
"""Cut a download off after 1000 bytes and resume it as browsers do (RFC 9110, sections 13.1.5 and 14.2)."""
VIOLATIONS = """
window.violations = []
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective))
"""


@pytest.fixture
def context(browser: Browser, site: Installation, device: Device) -> BrowserContext:
    """At `localhost`: passkeys belong to a host name."""
    context = device.context(browser, base_url=f"http://localhost:{site.port}")
    context.add_init_script(VIOLATIONS)
    return context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    for page in watched_page(context):
        yield page
        assert page.evaluate("window.violations") == []


def lasting_code(secret: str) -> str:
    """A code that stays valid for some seconds."""
    left = PERIOD_SECONDS - time.time() % PERIOD_SECONDS
    time.sleep(left if left < 5 else 0)
    return code_of_app(secret)


def test_an_app_and_a_recovery_code_sign_in_and_the_app_can_be_turned_off(page: Page) -> None:
    email = sign_up(page)
    page.goto("/account/")
    page.get_by_role("link", name="Set up two-factor sign-in").click()
    page.get_by_role("link", name="Set up an authenticator app").click()
    confirm(page)
    image = page.get_by_alt_text("QR code of the secret below")
    assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    page.get_by_text("Type the secret instead").click()
    secret = page.locator("#authenticator_secret").inner_text()
    page.get_by_label("Authenticator code").fill("000000")
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Authenticator code").fill(lasting_code(secret))
    page.get_by_role("button", name="Turn on").click()
    codes = page.locator("#recovery_codes li")
    expect(codes).to_have_count(10)
    assert violations(page) == []
    recovery_code = codes.first.inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert recovery_code in download.value.path().read_text()

    sign_out(page)
    enter_password(page, email)
    page.get_by_label("Code").fill(recovery_code)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/")
    sign_out(page)
    enter_password(page, email)
    page.get_by_label("Code").fill(recovery_code)  # used
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.get_by_label("Code").fill(lasting_code(secret))
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/")

    page.goto("/accounts/2fa/totp/deactivate/")
    confirm(page)
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_text("A second step after your password")).to_be_visible()


def test_a_passkey_signs_in_alone_and_after_the_password_and_sessions_are_listed(
    context: BrowserContext, page: Page
) -> None:
    tools = context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    made = tools.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "isUserVerified": True}})
    email = sign_up(page)
    page.goto("/account/")
    page.get_by_role("link", name="Add a passkey").click()
    confirm(page)
    page.get_by_label("Name").fill("<b>blue</b> key")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#recovery_codes li")).to_have_count(10)
    page.goto("/accounts/2fa/webauthn/")
    expect(page.get_by_role("cell").get_by_text("<b>blue</b> key", exact=True)).to_be_visible()
    assert violations(page) == []
    for name in ("Rename", "Remove"):
        page.get_by_role("link", name=name).click()
        assert violations(page) == []
        page.go_back()

    sign_out(page)
    page.goto("/accounts/login/?next=/account/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    sign_out(page)
    enter_password(page, email)
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Use a passkey or security key").click()
    page.wait_for_selector("#editor[data-ready]")

    page.goto("/accounts/sessions/")
    expect(page.get_by_text("This one")).to_be_visible()

    sign_out(page)
    tools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": made["authenticatorId"]})
    tools.send(
        "WebAuthn.addVirtualAuthenticator", {"options": {**options, "isUserVerified": False}}
    )  # a device that knows no passkey and no finger
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert").filter(has_text="Try again")).to_be_visible()


def test_a_user_sees_the_usage_ends_another_session_takes_everything_along_and_deletes_the_account(
    browser: Browser, context: BrowserContext, page: Page
) -> None:
    email = sign_up(page)
    (pk,) = paint(page, 1)
    other_context = browser.new_context(base_url=page.url)
    other = other_context.new_page()
    enter_password(other, email)
    other.wait_for_selector("#editor[data-ready]")
    page.goto("/accounts/sessions/")
    page.get_by_role("button", name="Sign out Chrom").click()
    expect(page.get_by_text("You are signed in nowhere else.")).to_be_visible()
    other.goto("/history/")
    expect(other.get_by_role("button", name="Sign in", exact=True)).to_be_visible()

    page.goto("/account/")
    usage = page.locator(".usage").filter(has_text="Generations in the last 24 hours")
    expect(usage.locator(".figure")).to_have_text(re.compile(r"^\s*1\b"))
    page.get_by_role("link", name="Export", exact=True).click()
    with page.expect_download() as download:
        confirm(page)
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert [name for name in archive.namelist() if pk in name]
    whole = hashlib.sha256(download.value.path().read_bytes()).hexdigest()
    resumed = page.evaluate(INTERRUPTED_DOWNLOAD, urlsplit(download.value.url).path)
    assert resumed == {"status": 206, "sha256": whole}
    page.goto("/storage/")
    page.get_by_label("Days").fill("30")
    page.get_by_role("button", name="Save").click()
    page.goto("/account/")
    expect(page.get_by_text("Deleted 30 days after their end.")).to_be_visible()

    page.get_by_role("link", name="Delete account").click()  # confirmed above, a moment ago
    expect(page.get_by_text("1 generation with all images")).to_be_visible()
    address = page.get_by_label("Your email address")
    address.fill("somebody@example.org")
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_text("This is not the address of your account.")).to_be_visible()
    assert violations(page) == []
    address.fill(email)
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_text("Your account and everything in it are deleted.")).to_be_visible()
    enter_password(page, email)
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_text("not correct")).to_be_visible()
    other_context.close()


def test_a_password_is_shown_by_a_button(visitor: Page) -> None:
    visitor.goto("/accounts/signup/")
    password = visitor.get_by_label("Password", exact=True)
    password.fill(PASSWORD)
    expect(password).to_have_attribute("type", "password")
    visitor.get_by_role("button", name="Show").click()
    expect(password).to_have_attribute("type", "text")
    visitor.get_by_role("button", name="Hide").click()
    expect(password).to_have_attribute("type", "password")
