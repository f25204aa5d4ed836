"""Ceremonies of passkeys with virtual authenticators of Chromium: a fresh sign-in, a removal, wrong authenticators.

Registering and signing in are in `test_accounts.py`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Route, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import confirm, enter_password, sign_out, sign_up, watched_page
from tests.browser.devices import Device
from tests.support.installation import Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("device", ["desktop"], indirect=True),
]

CONFIRM = "Use a passkey or security key"
AN_HOUR_PASSES = """
from importlib import import_module
from django.conf import settings
from django.contrib.sessions.models import Session
for row in Session.objects.all():
    session = import_module(settings.SESSION_ENGINE).SessionStore(row.session_key)
    for method in session.get("account_authentication_methods", []):
        method["at"] -= 3600
    session.modified = True
    session.save()
"""


@dataclass(frozen=True)
class Authenticator:
    """A virtual authenticator, which is the only one of the page's browser while it is plugged in."""

    tools: CDPSession
    pk: str

    @classmethod
    def plugged_into(cls, tools: CDPSession) -> Authenticator:
        tools.send("WebAuthn.enable")
        options = {
            **{"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True},
            "isUserVerified": True,
        }
        return cls(tools, tools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"])

    @property
    def credentials(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.tools.send("WebAuthn.getCredentials", {"authenticatorId": self.pk})[
            "credentials"
        ]
        return found

    def add(self, credential: dict[str, Any]) -> None:
        self.tools.send("WebAuthn.addCredential", {"authenticatorId": self.pk, "credential": credential})

    def remove(self) -> None:
        self.tools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.pk})


@pytest.fixture
def context(browser: Browser, site: Installation, device: Device) -> BrowserContext:
    """At `localhost`: passkeys belong to a host name."""
    return device.context(browser, base_url=f"http://localhost:{site.port}")


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    yield from watched_page(context)


@pytest.fixture
def tools(context: BrowserContext, page: Page) -> CDPSession:
    return context.new_cdp_session(page)


def sign_up_with_passkey(page: Page) -> str:
    """Return the e-mail address. The passkey signs in alone, and confirms."""
    email = sign_up(page)
    page.goto("/accounts/2fa/webauthn/add/")
    confirm(page)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#recovery_codes li")).to_have_count(10)
    return email


def with_another_key(credential: dict[str, Any]) -> dict[str, Any]:
    """The same id and user, as somebody knows them who does not have the private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {**credential, "privateKey": b64encode(private).decode(), "signCount": credential["signCount"] + 10}


def choose_passkey(page: Page) -> None:
    """On a page that asks who is there, prefer the passkey to the password."""
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    if page.get_by_role("button", name=CONFIRM).count() == 0:
        page.get_by_role("link", name=re.compile("security key", re.IGNORECASE)).click()


def test_a_passkey_confirms_what_concerns_the_account_and_other_keys_do_not(
    page: Page, tools: CDPSession, site: Installation
) -> None:
    own = Authenticator.plugged_into(tools)
    sign_up_with_passkey(page)
    page.goto("/account/delete/")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_have_count(0)  # confirmed a moment ago
    site.manage("shell", "--verbosity", "0", "--command", AN_HOUR_PASSES)

    (credential,) = own.credentials
    own.remove()
    forged = Authenticator.plugged_into(tools)
    forged.add(with_another_key(credential))
    page.goto("/account/delete/")
    choose_passkey(page)
    assert violations(page) == []
    page.get_by_role("button", name=CONFIRM).click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.goto("/account/delete/")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()

    forged.remove()
    unknown = Authenticator.plugged_into(tools)
    page.goto("/account/delete/")
    choose_passkey(page)
    page.get_by_role("button", name=CONFIRM).click()
    expect(page.get_by_role("alert").filter(has_text="Try again")).to_be_visible()

    unknown.remove()
    Authenticator.plugged_into(tools).add(credential)
    page.goto("/account/delete/")
    choose_passkey(page)
    page.get_by_role("button", name=CONFIRM).click()
    expect(page.get_by_role("button", name="Delete my account")).to_be_visible()


def test_a_passkey_of_another_user_is_no_second_step(page: Page, tools: CDPSession) -> None:
    """Also where the page is changed to ask for it: the challenge is signed then, but by a key of somebody else."""
    alices = Authenticator.plugged_into(tools)
    alice = sign_up_with_passkey(page)
    sign_out(page)
    alices.remove()
    bobs = Authenticator.plugged_into(tools)
    sign_up_with_passkey(page)
    sign_out(page)
    known = urlsafe_b64encode(b64decode(bobs.credentials[0]["credentialId"])).decode().rstrip("=")

    enter_password(page, alice)
    page.get_by_role("button", name=CONFIRM).click()
    expect(page.get_by_role("alert").filter(has_text="Try again")).to_be_visible()

    def ask_for_bobs(route: Route) -> None:
        answer = route.fetch()
        text, changes = re.subn(r'("id": ?")[\w-]{20,}(")', rf"\g<1>{known}\2", answer.text())
        assert changes == 1
        route.fulfill(response=answer, body=text)

    page.route("**/accounts/2fa/authenticate/*", ask_for_bobs, times=1)
    page.reload()
    page.get_by_role("button", name=CONFIRM).click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.goto("/account/")
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()  # still not signed in


def test_a_removed_passkey_signs_in_no_longer(page: Page, tools: CDPSession, site: Installation) -> None:
    own = Authenticator.plugged_into(tools)
    email = sign_up_with_passkey(page)
    site.manage("shell", "--verbosity", "0", "--command", AN_HOUR_PASSES)
    page.goto("/accounts/2fa/webauthn/")
    page.get_by_role("link", name="Remove").click()
    choose_passkey(page)
    page.get_by_role("button", name=CONFIRM).click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("None yet")).to_be_visible()
    sign_out(page)

    assert own.credentials, "the device still has the key"
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    enter_password(page, email)
    page.wait_for_selector("#editor[data-ready]")
