"""WCAG 2.2 AA by axe-core in the states that actions lead to: errors, menus, dialogs, progress, selections, nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import confirm, emails, sign_up, watched_page
from tests.browser.database import set_states
from tests.browser.devices import drag, press
from tests.browser.editor_page import (
    Pixels,
    close_settings,
    drop,
    more_settings,
    open_photo,
    paint_line,
    start,
    wait_on_a_fake_generation,
    white_square,
    written,
)
from tests.browser.painting import paint
from tests.browser.walks import ROCKET
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

Look = Callable[[str], None]


@pytest.fixture
def page(browser: Browser, site: Installation, screen: dict[str, Any]) -> Iterator[Page]:
    """A page without a session, on each kind of screen."""
    yield from watched_page(browser.new_context(base_url=site.url, **screen))


@pytest.fixture
def look(page: Page) -> Iterator[Look]:
    """look(state) keeps what axe finds now; at the end no state may have any."""
    found: dict[str, list[str]] = {}

    def kept(state: str) -> None:
        found[state] = violations(page)

    yield kept
    assert found
    assert {state: rules for state, rules in found.items() if rules} == {}


def said(page: Page, place: str) -> None:
    expect(page.locator(f"#{place}-message")).to_be_visible()


def test_the_editor_before_a_result(page: Page, look: Look, photo: Pixels, photo_file: Path, tmp_path: Path) -> None:
    sign_up(page)
    look("empty")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page.set_input_files("#photo-input", broken)
    said(page, "photo")
    look("damaged photo")
    open_photo(page, photo_file)
    page.set_input_files("#mask-input", written(white_square(), tmp_path / "hole.png"))
    expect(page.locator("#mask-name")).to_have_text("hole.png")
    press(page, "More for the mask")
    look("mask from a file")
    page.keyboard.press("Escape")
    drop(page, "#mask-zone", written(photo, tmp_path / "mask.jpg"))
    said(page, "mask")
    look("refused mask")
    for mode in ("outline", "alone"):
        page.keyboard.press("v")
        look(mode)
    page.keyboard.press("v")
    press(page, "Clear")
    page.locator("#tool-size").fill("0")
    drag(page, "#in-place", (0.5, 0.5))
    expect(page.locator("#generate-hint")).to_contain_text("Was that all")
    look("hint")
    more_settings(page)
    look("settings")
    page.get_by_label("Images", exact=True).fill("999")
    page.keyboard.press("Control+Enter")
    said(page, "generate")
    look("number out of range")
    page.get_by_label("Images", exact=True).fill("")
    press(page, "Presets")
    page.get_by_label("Name of the preset").fill("Plain")
    press(page, "Save these settings")
    look("presets")


def test_the_editor_while_it_paints_and_when_that_fails(page: Page, look: Look, photo_file: Path) -> None:
    sign_up(page)
    state, sockets = wait_on_a_fake_generation(page)
    state["status"] = "queued"
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    start(page)
    expect(page.locator("#progress-text")).to_have_text("Waiting for its turn…")
    look("waiting")
    state |= {"status": "running", "progress": {"step": 3, "of": 12, "percent": 25}}
    sockets[-1].send('{"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 75}')
    expect(page.locator("#progress-detail")).to_contain_text("Step 3 of 12")
    look("running")
    state |= {"status": "failed", "error": {"code": "out_of_memory", "message": "The memory is full. " * 8}}
    sockets[-1].send('{"type": "failed"}')
    said(page, "generate")
    look("failed")
    page.unroute("**/api/img2img")
    page.route("**/api/img2img", lambda route: route.abort())
    start(page)
    expect(page.locator("#generate-message")).to_contain_text("cannot be reached")
    look("no connection")


def test_the_editor_with_a_result_and_signed_out(page: Page, look: Look, photo_file: Path) -> None:
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    more_settings(page)
    page.get_by_label("Images", exact=True).fill("2")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result")).to_be_visible()
    more_settings(page)  # on a phone they close, so that they do not cover the result
    page.get_by_label("Images", exact=True).fill("")
    close_settings(page)
    look("two results")
    for name in ("Divider", "Difference"):
        press(page, name)
        look(name)
    press(page, "Figures of this result")
    look("figures")
    page.keyboard.press("Escape")
    press(page, "More ways to download")
    look("downloads")
    page.keyboard.press("Escape")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.context.clear_cookies(name="sessionid")
    press(page, "Try again")
    dialog = page.get_by_role("dialog", name="You are signed out")
    dialog.get_by_label("Password").fill("not this")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    look("signed out, wrong password")


def test_several_photos(page: Page, look: Look, photo: Pixels, tmp_path: Path) -> None:
    sign_up(page)
    page.goto("/batches/")
    page.wait_for_selector("#new-batch[data-ready]")
    photos = [written(np.roll(photo, 20 * number, axis=1), tmp_path / f"photo {number}.png") for number in range(3)]
    broken = tmp_path / "notes.png"
    broken.write_bytes(b"no image")
    drop(page, "#new-batch", *photos, broken)
    expect(page.locator("#batch-files-message")).to_be_visible()
    look("photos, one damaged")
    page.locator("#batch-submit").click()
    expect(page.locator("#batch-message")).to_be_visible()
    look("without a mask")
    drop(page, "#new-batch", *(written(white_square(), tmp_path / f"photo {number}-mask.png") for number in range(2)))
    page.get_by_label("One for each photo").check()
    look("a mask for each")
    page.get_by_label("One for all photos").check()
    page.get_by_role("button", name="Paint it on the first photo").click()
    expect(page.locator("#batch-bar")).to_be_visible()
    look("the mask of all in the editor")


def test_the_history_and_generations_without_a_result(page: Page, look: Look, site: Installation) -> None:
    sign_up(page)
    page.goto("/history/")
    look("empty")
    ids = paint(page, 5)
    states = dict(zip(("queued", "running", "failed", "cancelled"), ids, strict=False))
    set_states(site, states, "Nothing to copy from. " * 8)
    page.goto("/history/")
    expect(page.locator(".badge")).to_have_count(4)
    page.get_by_text("Filter", exact=True).click()
    look("every state, filter open")
    page.locator(".card-select").first.click()
    look("one selected")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    look("one deleted")
    page.goto("/history/?text=nothing")
    look("nothing found")
    for status, pk in states.items():
        page.goto(f"/generations/{pk}/")
        expect(page.locator(f".badge.{status}")).to_be_visible()
        look(status)


def test_the_first_page_and_its_forms(page: Page, look: Look, site: Installation) -> None:
    page.goto("/")
    page.wait_for_selector("#hint:not([hidden])")
    drag(page, "#surface", *ROCKET)
    look("painted")
    page.route("**/sample/", lambda route: route.fulfill(status=503, json={"message": "Many are trying this."}))
    press(page, "Remove")
    expect(page.get_by_role("alert").filter(has_text="Many")).to_be_visible()
    look("refused")
    page.unroute("**/sample/")
    press(page, "Remove")
    expect(page.get_by_alt_text("The photo as painted")).to_be_visible()
    look("erased")
    for path, button, fields in (
        ("signup", "Create account", {"Email": "x@example.org", "Password": "short"}),
        ("login", "Sign in", {"Email": next(emails), "Password": "not this"}),
    ):
        page.goto(f"/accounts/{path}/")
        for label, value in fields.items():
            page.get_by_label(label, exact=True).fill(value)
        page.get_by_role("main").get_by_role("button", name=button, exact=True).click()
        expect(page.locator(".error, .errorlist, [role=alert]").first).to_be_visible()
        look(f"{path} with errors")


def test_keys_and_storage(page: Page, look: Look) -> None:
    sign_up(page)
    page.goto("/keys/")
    look("no key")
    page.get_by_label("Name").fill("photo script")
    page.get_by_role("button", name="Make key").click()
    look("asked for the password")
    confirm(page)
    expect(page.locator("#new-key")).to_be_visible()
    look("a new key")
    for scope in page.get_by_role("group", name="What it may do").get_by_role("checkbox").all():
        scope.uncheck()
    page.get_by_label("Name").fill("nothing")
    page.get_by_role("button", name="Make key").click()
    expect(page.locator("#key-scopes-error")).to_be_visible()
    look("a key without scopes")
    page.goto("/storage/")
    look("nothing stored")
    page.goto("/welcome/")
    look("welcome")


def test_models_on_their_way_stopped_and_failed(
    browser: Browser, administered_site: Installation, administrator: StorageState, screen: dict[str, Any]
) -> None:
    message = "The file is not what was promised: another sha256. " * 6
    states = [("pulling", "2100-01-01", ""), ("pulling", "2000-01-01", ""), ("failed", None, message)]
    with closing(sqlite3.connect(administered_site.folder / "dreamlayer.sqlite3", timeout=20)) as database:
        pks = [pk for (pk,) in database.execute("SELECT id FROM inpainting_inferencemodel LIMIT 3")]
        change = "UPDATE inpainting_inferencemodel SET state = ?, lease_until = ?, message = ? WHERE id = ?"
        with database:
            database.executemany(change, [(*row, pk) for row, pk in zip(states, pks, strict=True)])
        for page in watched_page(
            browser.new_context(base_url=administered_site.url, storage_state=administrator, **screen)
        ):
            page.goto("/models/")
            for words in ("On its way", "Stopped", "Failed"):
                expect(page.locator(".badge").get_by_text(words, exact=True).first).to_be_visible()
            found = violations(page)
            page.goto("/admin/")
            found += violations(page)
        with database:
            database.executemany(change, [("not_installed", None, "", pk) for pk in pks])
    assert found == []
