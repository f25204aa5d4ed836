"""The pages of administrators in a browser: the review with its keys, actions on many, and Django's own pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, StorageState, ViewportSize, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import ADMINISTRATOR, sign_up, watched_page
from tests.browser.painting import paint
from tests.conftest import png
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

emails = (f"reviewed{number}@example.org" for number in count(1))
LIST = "/admin/inpainting/generation/"


@dataclass(frozen=True)
class Owner:
    email: str
    key: str


@pytest.fixture(scope="module")
def site(administered_site: Installation) -> Installation:
    return administered_site


@pytest.fixture
def owner(site: Installation) -> Owner:
    """A new user with three generations."""
    email = next(emails)
    key = site.manage("create_api_key", email, "--create-user").strip()
    photo = np.full((96, 128, 3), 90, np.uint8)
    photo[:, 64:] = 160
    mask = np.full((96, 128), 255, np.uint8)
    mask[40:60, 50:80] = 0
    for _ in range(3):
        assert site.img2img(key, png(photo), png(mask))[0] == 200
    return Owner(email, key)


@pytest.fixture
def review(browser: Browser, site: Installation, administrator: StorageState, screen: dict[str, Any]) -> Iterator[Page]:
    yield from watched_page(browser.new_context(base_url=site.url, storage_state=administrator, **screen))


def is_clean(page: Page) -> None:
    """Nothing that axe finds, no sideways scroll, no violation of the policy."""
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_the_filters_fold_and_the_navigation_shows_the_present_page(
    browser: Browser, site: Installation, administrator: StorageState, owner: Owner
) -> None:
    size: ViewportSize = {"width": 390, "height": 844}
    for page in watched_page(browser.new_context(base_url=site.url, storage_state=administrator, viewport=size)):
        page.goto("/admin/accounts/auditentry/")
        page.get_by_role("link", name="Review", exact=True).click()
        expect(page.get_by_role("link", name="Admin")).to_be_in_viewport(ratio=1)
        expect(page.get_by_label("Verdict")).to_be_hidden()
        page.get_by_label("More filters").check()
        page.get_by_label("Verdict").select_option("fine")
        page.get_by_role("button", name="Filter", exact=True).click()
        expect(page.get_by_label("Verdict")).to_have_value("fine")
        expect(page.get_by_label("Verdict")).to_be_visible()


def test_a_reviewer_walks_by_keys_and_removes_what_its_owner_then_cannot_open(
    review: Page, site: Installation, owner: Owner, screen: dict[str, Any]
) -> None:
    page, messages = review, []
    page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
    page.goto(f"{LIST}?q={owner.email}")
    is_clean(page)
    cards = page.locator(".review-card a")
    addresses = [str(cards.nth(index).get_attribute("href")) for index in range(2)]
    cards.first.click()
    is_clean(page)

    boxes = [page.locator(".side-by-side .image img").nth(index).bounding_box() for index in range(3)]
    tops, lefts = zip(*((box["y"], box["x"]) for box in boxes if box), strict=True)
    if screen["viewport"]["width"] >= 1280:
        assert max(tops) - min(tops) < 2
        assert list(lefts) == sorted(set(lefts))
    else:
        assert list(tops) == sorted(set(tops))

    page.keyboard.press("j")
    page.wait_for_url(f"**{addresses[1]}")
    page.keyboard.press("k")
    page.wait_for_url(f"**{addresses[0]}")
    page.get_by_label("Note").fill("look 123")  # the keys do not act while one types
    expect(page.get_by_role("radio", name="Fine")).not_to_be_checked()
    page.locator("h1").click()
    page.keyboard.press("2")
    expect(page.locator(".message.success")).to_contain_text("needs attention")
    page.wait_for_url(f"**{addresses[1]}")
    page.keyboard.press("3")
    expect(page.get_by_label("Note")).to_be_focused()
    page.keyboard.type("copied from elsewhere")
    page.get_by_role("button", name="Save", exact=False).first.click()
    expect(page.locator(".message.success")).to_contain_text("removed")
    pk = addresses[1].split("/")[4]
    status, body = site.get(f"/api/generations/{pk}/", key=owner.key)
    assert (status, json.loads(body)["code"]) == (410, "generation_removed")

    page.goto(addresses[0])
    page.get_by_label("Keys:").uncheck()
    page.reload()
    page.keyboard.press("1")
    expect(page.get_by_role("radio", name="Needs attention")).to_be_checked()
    page.get_by_label("Keys:").check()
    assert messages == []


def test_selected_generations_change_after_a_confirmation(review: Page, owner: Owner) -> None:
    page = review
    page.goto(f"{LIST}?q={owner.email}")
    expect(page.get_by_role("button", name="Continue")).to_be_disabled()
    page.get_by_label("Select all on this page").check()
    expect(page.locator("[data-selected]")).to_have_text("3 selected")
    page.get_by_label("Action for the selected generations").select_option("removed")
    page.get_by_role("button", name="Continue").click()
    is_clean(page)
    page.get_by_label("Reason, for the owners").fill("a test")
    page.get_by_role("button", name="Remove, with a reason for the owner").click()
    expect(page.locator(".message.success")).to_contain_text("3 of 3")
    expect(page.locator(".badge.verdict-removed")).to_have_count(3)
    page.get_by_label("Select all on this page").check()
    page.get_by_label("Action for the selected generations").select_option("fine")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Mark as fine").click()
    expect(page.locator(".badge.verdict-fine")).to_have_count(3)
    page.goto("/admin/accounts/auditentry/")
    entries = page.locator(".list tbody tr")
    expect(entries.first).to_contain_text(ADMINISTRATOR)
    expect(page.locator(".addlink")).to_have_count(0)
    entries.first.get_by_role("link").first.click()
    expect(page.locator("h1, h2").filter(has_text="View").first).to_be_visible()
    expect(page.locator("main").get_by_role("button", name="Save")).to_have_count(0)
    expect(page.locator("main").get_by_role("link", name="Delete")).to_have_count(0)
    page.goto(f"{LIST}?q=nothing+at+all")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    is_clean(page)


def test_the_search_finds_what_is_typed(review: Page, owner: Owner) -> None:
    page = review
    page.goto(LIST)
    words, cards = page.get_by_label("Search"), page.locator(".review-card")

    def search(text: str) -> None:
        words.fill(text)
        words.press("Enter")
        page.wait_for_url("**q=**")
        expect(words).to_have_value(text)

    search(owner.email)
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text(owner.email)
    pk = str(cards.nth(1).locator("a").get_attribute("href")).split("/")[4]
    search(pk)
    expect(cards).to_have_count(1)
    expect(cards.locator("input")).to_have_value(pk)
    search("LAWN a")
    expect(cards.first).to_contain_text("a lawn")
    search("lawnmower")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(words).to_have_value("")
    expect(cards.first).to_be_visible()


def test_the_owner_reads_why_a_generation_was_removed(
    review: Page, browser: Browser, site: Installation, screen: dict[str, Any]
) -> None:
    reason = "Copied from a catalogue without its photographer's permission. " * 3 + "x" * 90
    for page in watched_page(browser.new_context(base_url=site.url, **screen)):
        sign_up(page)
        (pk,) = paint(page, 1)
        page.goto(f"/generations/{pk}/")
        expect(page.get_by_role("heading", name="meadow-0.png")).to_be_visible()
        review.goto(f"{LIST}{pk}/change/")
        review.get_by_role("radio", name="Removed").check()
        review.get_by_label("Note").fill(reason)
        review.get_by_role("button", name="Save", exact=False).first.click()
        expect(review.locator(".message.success")).to_contain_text("removed")
        answer = page.reload()
        assert answer
        assert answer.status == 410
        expect(page.get_by_role("heading", name="An administrator removed this generation")).to_be_visible()
        expect(page.locator("main")).to_contain_text(f"Reason: {reason.strip()}")
        expect(page.locator("main img")).to_have_attribute("alt", "")  # none of its images
        is_clean(page)
        page.get_by_role("link", name="Back to the history").click()
        expect(page.locator(".message.warning")).to_contain_text(reason.strip())
        expect(page.locator(".card")).to_have_count(0)
        is_clean(page)
        page.get_by_role("link", name="A generation of").click()
        page.wait_for_url(f"**/generations/{pk}/")


def test_the_dashboard_says_what_waits_runs_fails_and_is_full(review: Page) -> None:
    review.goto("/admin/")
    for name in ("Queue", "Workers", "Time per engine", "Failures", "Storage", "Review", "Models", "Audit log"):
        section = review.get_by_role("region", name=name)
        expect(section).to_be_visible()
        assert len(section.inner_text()) > len(name)


def test_the_other_pages_of_the_admin_look_like_the_rest_and_can_be_used_by_everybody(review: Page) -> None:
    page = review
    page.goto("/admin/")
    links = page.locator("a[href^='/admin/']").evaluate_all("(links) => links.map((link) => link.pathname)")
    lists = {path for path in links if re.fullmatch(r"/admin/\w+/\w+/", path)}
    assert {"/admin/accounts/user/", "/admin/accounts/auditentry/", "/admin/accounts/apikey/"} <= lists
    assert len(lists) > 10
    others = (
        "/admin/",
        "/admin/usage/",
        "/admin/usage/?q=nobody",
        "/admin/workers/",
        "/admin/inpainting/userlimits/add/",
    )
    for path in (*others, *sorted(lists)):
        page.goto(path)
        is_clean(page)
        assert page.locator("link[rel=icon]").get_attribute("href")
        expect(page.get_by_role("navigation", name="Administration").get_by_role("link", name="Review")).to_be_visible()
