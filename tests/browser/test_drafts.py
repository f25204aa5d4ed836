"""Drafts: nothing that is open in the editor is lost, with a real server and a real browser."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import CHROMIUM_FLAGS, PASSWORD, sign_up, watched_page
from tests.browser.devices import ON_A_PHONE_TOO, Device
from tests.browser.editor_page import (
    drop,
    is_red,
    more_settings,
    open_photo,
    paint_line,
    photo_box,
    start,
    white_square,
    written,
)
from tests.browser.painting import paint
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

PAGE = "/keys/"
"""A page with the scripts' import map, but without the editor."""
OPEN = """async () => {
    const [{ Store }, { Draft, inWords }, document_, operations, pictures, { account }] = await Promise.all(
        ["document/store", "document/draft", "document/document", "document/operations", "document/images"]
            .map((name) => import(`editor/${name}`)).concat(import("session")))
    const store = new Store()
    const said = []
    const changes = { joined: 0 }
    const draft = await Draft.open({
        account, store,
        onState: (state) => said.push(inWords(state)),
        onOtherDevice: () => changes.joined++,
    })
    const canvas = Object.assign(document.createElement("canvas"), { width: 300, height: 200 })
    const painted = (colour) => new Promise((made) => {
        const context = canvas.getContext("2d")
        context.fillStyle = colour
        context.fillRect(0, 0, 300, 200)
        canvas.toBlob(made)
    })
    window.studio = {
        store, draft, said, changes,
        async take(name) {
            const id = await pictures.put(await painted(name))
            const photo = { id, name, width: 300, height: 200 }
            store.update((it) => document_.push(it, { kind: "photo", photo, parent: null }))
        },
        stroke(size) {
            const operation = operations.stroke({ size, points: [[1, 2, 0.5], [30.25, 40, 1]] })
            store.update((it) => document_.push(it, { kind: "mask", operation }))
        },
        set: (changed) => store.update((it) => Object.freeze({ ...it, ...changed })),
        undo: () => store.update(document_.undo),
        async shown() {
            const { photo, operations } = store.view
            const { settings, step, generation } = store.document
            const blob = photo && await pictures.get(photo.id)
            const sizes = operations.map(({ size }) => size)
            return [photo?.name ?? null, Boolean(blob?.size), sizes, settings, step, generation]
        },
    }
}"""


def opened(page: Page, site_url: str = "") -> Page:
    """Open the draft on a page without an editor, as the editor does."""
    page.goto(site_url + PAGE)
    page.evaluate(OPEN)
    return page


def do(page: Page, actions: str) -> None:
    page.evaluate(f"async () => {{ {actions} }}")


def shown(page: Page) -> Any:
    """Name of the photo, whether its file is there, sizes of the strokes, settings, step, generation."""
    return page.evaluate("studio.shown()")


def is_said(page: Page, text: str) -> None:
    page.wait_for_function("(text) => studio.said.at(-1) === text", arg=text)


TAKE = 'await studio.take("red"); studio.stroke(11); studio.stroke(12); studio.set({ settings: { prompt: "a lawn" } })'
TAKEN = ["red", True, [11, 12], {"prompt": "a lawn"}, "editing", None]


@pytest.fixture
def person(browser: Browser, site: Installation, device: Device) -> Iterator[Page]:
    """A page of a new account without a draft."""
    context = device.context(browser, base_url=site.url)
    for page in watched_page(context):
        sign_up(page)
        yield opened(page)


@pytest.fixture
def second(browser: Browser, site: Installation, person: Page) -> Iterator[Page]:
    """Another browser of the same person."""
    context = browser.new_context(base_url=site.url, storage_state=person.context.storage_state())
    yield from watched_page(context)


def end_session(page: Page, site: Installation) -> None:
    """Delete the session on the server, as another sign-out does."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    with sqlite3.connect(site.folder / "dreamlayer.sqlite3", timeout=20) as database:
        deleted = database.execute("DELETE FROM django_session WHERE session_key = ?", [cookies["sessionid"]])
        assert deleted.rowcount == 1


def sign_in_again(page: Page, email: str = "") -> None:
    dialog = page.get_by_role("dialog", name="You are signed out")
    expect(dialog).to_be_visible()
    if email:
        dialog.get_by_label("Email").fill(email)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()


def test_everything_comes_back_after_a_reload_and_on_another_device(person: Page, second: Page) -> None:
    do(person, TAKE + '; studio.set({ step: "result", generation: "7c0e3f5a-6b1d-4d3a-9a51-0d9a4f1c2b3d" })')
    there = [*TAKEN[:4], "result", "7c0e3f5a-6b1d-4d3a-9a51-0d9a4f1c2b3d"]
    opened(person)  # at once: the server has nothing yet
    assert shown(person) == there
    is_said(person, "Saved")
    assert shown(opened(second)) == there
    do(second, 'await studio.take("blue"); studio.undo()')
    assert shown(second) == there, "the first photo is one undo away"
    is_said(second, "Saved")
    do(person, 'document.dispatchEvent(new Event("visibilitychange"))')
    person.wait_for_function("() => studio.store.document.entries.length === 4")
    assert shown(opened(person)) == there


@contextmanager
def own_browser(browser: Browser, chromium: str, folder: Path) -> Iterator[tuple[Page, int]]:
    """A page in a browser process of its own, and the id of its process group."""
    (folder / "DevToolsActivePort").unlink(missing_ok=True)
    command = [chromium, *CHROMIUM_FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        written_by_it = folder / "DevToolsActivePort"
        Installation.wait_until(lambda: written_by_it.exists() and written_by_it.read_text())  # at first it is empty
        port = written_by_it.read_text().splitlines()[0]
        connected = browser.browser_type.connect_over_cdp(f"http://127.0.0.1:{port}")
        yield connected.contexts[0].pages[0], process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_browser_and_a_stopped_server_lose_nothing(
    browser: Browser, chromium: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    installation = Installation(tmp_path_factory.mktemp("stopped-site"))
    installation.migrate()
    profile = tmp_path / "profile"
    profile.mkdir()
    with own_browser(browser, chromium, profile) as (page, group):
        with installation.serving():
            sign_up(page, installation.url)
            opened(page, installation.url)
            do(page, TAKE)
            is_said(page, "Saved")
        do(page, 'await studio.take("blue"); studio.stroke(13)')
        is_said(page, "Offline: saved in this browser")
        cookies = cast("list[Any]", page.context.cookies())  # Chromium writes them to disk only twice a minute
        said = page.evaluate("studio.said.length")
        do(page, "studio.stroke(14)")
        page.wait_for_function(
            "(said) => studio.said.length > said && studio.said.at(-1) === 'Offline: saved in this browser'", arg=said
        )
        os.killpg(group, signal.SIGKILL)
    with installation.serving(), own_browser(browser, chromium, profile) as (page, _):
        page.context.add_cookies(cookies)
        opened(page, installation.url)
        assert shown(page) == ["blue", True, [13, 14], {"prompt": "a lawn"}, "editing", None]
        is_said(page, "Saved")


@ON_A_PHONE_TOO
def test_changes_of_two_devices_are_joined(person: Page, second: Page) -> None:
    do(person, TAKE)
    is_said(person, "Saved")
    opened(second)
    for page, change in ((second, "studio.stroke(21)"), (person, 'await studio.take("green"); studio.stroke(31)')):
        do(page, change)
        is_said(page, "Saved")
    assert person.evaluate("studio.changes.joined") == 1
    assert shown(person) == ["green", True, [31], {"prompt": "a lawn"}, "editing", None]
    do(person, "studio.undo(); studio.undo()")
    assert shown(person)[:3] == ["red", True, [11, 12, 21]], "undo leads to the other device's changes"


@ON_A_PHONE_TOO
def test_the_browser_keeps_the_draft_while_there_is_no_connection(person: Page) -> None:
    do(person, TAKE)
    is_said(person, "Saved")
    person.context.set_offline(True)
    do(person, "studio.stroke(13)")
    is_said(person, "Offline: saved in this browser")
    assert person.evaluate("window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"), "no warning"
    person.context.set_offline(False)
    opened(person)  # before the next attempt
    assert shown(person)[2] == [11, 12, 13]
    is_said(person, "Saved")


def test_a_window_without_storage_warns_only_of_what_is_not_saved(browser: Browser, site: Installation) -> None:
    context = browser.new_context(base_url=site.url)
    context.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
    for page in watched_page(context):
        sign_up(page)
        opened(page)
        leaves = "window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"
        context.set_offline(True)
        do(page, TAKE)
        is_said(page, "Offline: not saved")
        assert not page.evaluate(leaves)
        context.set_offline(False)
        is_said(page, "Saved")
        assert page.evaluate(leaves)
        assert shown(opened(page)) == TAKEN


def test_signed_out_in_the_middle_the_same_request_is_repeated(person: Page, site: Installation) -> None:
    do(person, TAKE)
    is_said(person, "Saved")
    end_session(person, site)
    do(person, "studio.stroke(13)")
    person.evaluate("""() => {
        const type = { "Content-Type": "application/json" }
        window.answer = import("api").then(({ post }) => post("/api/plan/", JSON.stringify({ prompt: "x" }), type))
    }""")
    sign_in_again(person)
    assert person.evaluate("answer")["status"] == "success"
    is_said(person, "Saved")
    assert shown(person)[2] == [11, 12, 13]
    values = "(fields) => fields.map(({ value }) => value)"
    assert len(set(person.eval_on_selector_all("input[name=csrfmiddlewaretoken]", values))) == 1, "forms work too"
    person.context.clear_cookies(name="csrftoken")  # the token alone
    do(person, "studio.stroke(14)")
    is_said(person, "Saved")
    assert shown(opened(person))[2] == [11, 12, 13, 14]


def test_a_closed_dialog_is_not_opened_again_by_itself(person: Page, site: Installation) -> None:
    do(person, TAKE)
    is_said(person, "Saved")
    end_session(person, site)
    do(person, "studio.stroke(13)")
    dialog = person.get_by_role("dialog", name="You are signed out")
    assert violations(person) == []
    dialog.get_by_role("button", name="Not now").click()
    is_said(person, "Signed out: saved in this browser")
    do(person, "studio.stroke(14); await studio.draft.flush()")
    is_said(person, "Signed out: saved in this browser")
    expect(dialog).to_have_count(0)


def test_another_account_gets_nothing_of_the_first(person: Page, browser: Browser, site: Installation) -> None:
    other = browser.new_context(base_url=site.url)
    second = sign_up(other.new_page())
    other.close()
    do(person, TAKE)
    is_said(person, "Saved")
    end_session(person, site)
    do(person, "studio.stroke(13)")
    with person.expect_navigation():
        sign_in_again(person, second)
    person.evaluate(OPEN)
    assert shown(person) == [None, False, [], {}, "editing", None]
    databases = person.evaluate("indexedDB.databases().then((all) => all.map(({ name }) => name))")
    assert [name for name in databases if name.startswith("dreamlayer-draft")] == [
        person.evaluate("`dreamlayer-draft-of-${document.body.dataset.account}`")
    ]


@ON_A_PHONE_TOO
def test_the_editor_opens_with_everything_as_it_was_left(
    visitor: Page, device: Device, browser: Browser, site: Installation, photo_file: Path, tmp_path: Path
) -> None:
    page, person = visitor, sign_up(visitor)
    saved, name, covered = page.locator("#saved"), page.locator("#photo-name"), page.locator("#photo-covered")
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    more_settings(page)
    page.get_by_label("Engine").select_option("quick-fill")
    page.locator("#more-close").click()
    expect(covered).not_to_have_text("nothing to repaint yet")
    painted = covered.text_content()
    page.reload()  # at once
    expect(name).to_have_text(photo_file.name)
    expect(covered).to_have_text(str(painted))
    expect(page.locator("#engine")).to_have_value("quick-fill")
    end_session(page, site)
    start(page)
    sign_in_again(page, person)
    page.wait_for_url("**/?generation=*")
    page.reload()  # while it is painted
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    expect(saved).to_have_text("Saved")
    page.reload()
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    page.goto("/")  # from another page, without the generation in the address
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    other = device.context(browser, base_url=site.url, storage_state=page.context.storage_state())
    for second in watched_page(other):
        second.goto("/")
        expect(second.locator("#editor")).to_have_attribute("data-state", "done")
        second.get_by_role("button", name="Back", exact=True).click()
        expect(second.locator("#saved")).to_have_text("Saved")
        second.reload()  # the mask is edited again: the result is not shown any more
        expect(second.locator("#photo-covered")).to_have_text(str(painted))
        expect(second.locator("#editor")).to_have_attribute("data-state", "editing")
        drop(second, "#stage", written(white_square(), tmp_path / "second.png"))
        expect(second.locator("#photo-name")).to_have_text("second.png")
        second.locator("[data-command=undo]").click()
        expect(second.locator("#photo-name")).to_have_text(photo_file.name)
        expect(second.locator("#photo-covered")).to_have_text(str(painted))


def test_a_stroke_under_the_pointer_is_kept_by_a_reload(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    expect(page.locator("#saved")).to_have_text("Saved")
    page.route("**/api/draft/", lambda route: route.abort() if route.request.method == "PUT" else route.continue_())
    box = photo_box(page)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.4 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=5)
    page.reload()
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    assert is_red(page)
    page.unroute_all()
    page.mouse.up()
    page.locator("[data-command=undo]").click()
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")
    expect(page.locator("[data-command=undo]")).to_be_disabled()


def test_a_polygon_that_was_begun_by_clicks_is_kept_by_a_reload(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    page.keyboard.press("p")
    box = photo_box(page)

    def click(across: float, down: float) -> None:
        page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])

    for corner in ((0.3, 0.3), (0.7, 0.3)):
        click(*corner)
    page.reload()
    expect(page.locator("[data-command=polygon]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    expect(page.locator("[data-command=undo]")).to_be_disabled()
    for corner in ((0.7, 0.7), (0.3, 0.7)):
        click(*corner)
    page.keyboard.press("Enter")
    expect(page.locator("#photo-covered")).to_contain_text("to repaint")
    assert all(is_red(page, *place) for place in ((0.5, 0.35), (0.65, 0.5), (0.35, 0.6)))
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.locator("#photo-covered")).to_contain_text("to repaint")
    click(0.1, 0.1)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")


def test_two_tabs_on_the_same_photo_lose_nothing(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    expect(page.locator("#saved")).to_have_text("Saved")
    other = page.context.new_page()
    other.goto("/")
    expect(other.locator("#photo-name")).to_have_text(photo_file.name)
    paint_line(page, from_left=0.4, to_left=0.6, down=0.3)
    expect(page.locator("#saved")).to_have_text("Saved")
    paint_line(other, from_left=0.4, to_left=0.6, down=0.7)
    expect(other.locator("#photo-message")).to_have_text(
        "This draft was changed in another tab or on another device too. Undo leads to those changes."
    )
    expect(other.locator("#saved")).to_have_text("Saved")
    assert is_red(page, down=0.3), "nothing is taken away under the hand"
    other.reload()
    expect(other.locator("#photo-covered")).to_contain_text("to repaint")
    assert not is_red(other, down=0.3)
    assert is_red(other, down=0.7)
    for _ in range(2):
        other.locator("[data-command=undo]").click()
    assert is_red(other, down=0.3), "undo leads to what the other tab has painted"
    assert not is_red(other, down=0.7)
    for _ in range(2):
        other.locator("[data-command=redo]").click()
    assert is_red(other, down=0.7)


def look_at(tab: Page, *, as_in: Page) -> None:
    """Return to a tab until it shows what another one has kept in the browser."""
    look = """(covered) => {
        document.dispatchEvent(new Event("visibilitychange"))
        return document.getElementById("photo-covered").textContent === covered
    }"""
    tab.wait_for_function(look, arg=as_in.locator("#photo-covered").text_content())


def test_two_tabs_without_a_connection_lose_nothing(visitor: Page, photo_file: Path) -> None:
    page, context = visitor, visitor.context
    sign_up(page)
    open_photo(page, photo_file)
    expect(page.locator("#saved")).to_have_text("Saved")
    other = context.new_page()
    other.goto("/")
    expect(other.locator("#photo-name")).to_have_text(photo_file.name)
    context.route("**/api/**", lambda route: route.abort())
    offline = "Offline: saved in this browser"
    paint_line(page, from_left=0.4, to_left=0.6, down=0.3)
    expect(page.locator("#saved")).to_have_text(offline)
    paint_line(other, from_left=0.4, to_left=0.6, down=0.7)  # both tabs are in sight
    expect(other.locator("#photo-message")).to_contain_text("changed in another tab")
    expect(other.locator("#saved")).to_have_text(offline)
    look_at(page, as_in=other)
    assert is_red(page, down=0.7)
    paint_line(page, from_left=0.4, to_left=0.6, down=0.5)
    look_at(other, as_in=page)
    page.close()
    other.close()
    context.unroute_all()
    again = context.new_page()
    again.goto("/")
    expect(again.locator("#photo-covered")).to_contain_text("to repaint")
    expect(again.locator("#saved")).to_have_text("Saved")
    assert is_red(again, down=0.5)
    assert is_red(again, down=0.7)
    assert not is_red(again, down=0.3)
    for _ in range(3):
        again.locator("[data-command=undo]").click()
    assert is_red(again, down=0.3), "undo leads to what the first tab has painted"
    assert not is_red(again, down=0.7)
    again.close()


def test_a_link_opens_its_generation_and_one_undo_leads_to_what_was_open(
    visitor: Page, photo_file: Path, tmp_path: Path
) -> None:
    page = visitor
    sign_up(page)
    [generation] = paint(page, 1)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    covered = page.locator("#photo-covered")
    expect(covered).to_contain_text("to repaint")
    painted = str(covered.text_content())
    expect(page.locator("#saved")).to_have_text("Saved")
    page.goto(f"/?generation={generation}")
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    expect(page.locator("#photo-name")).to_have_text("meadow-0.png")
    expect(page).to_have_url(f"/?generation={generation}")
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page).to_have_url("/")
    expect(covered).not_to_have_text("nothing to repaint yet")
    page.locator("[data-command=undo]").click()
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    expect(covered).to_have_text(painted)
    page.locator("[data-command=redo]").click()
    expect(page.locator("#photo-name")).to_have_text("meadow-0.png")
    expect(covered).not_to_have_text("nothing to repaint yet")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.locator("#photo-name")).to_have_text("meadow-0.png")
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    expect(page).to_have_url("/")


def test_a_photo_that_is_chosen_while_the_result_opens_replaces_it(
    visitor: Page, photo_file: Path, tmp_path: Path
) -> None:
    page = visitor
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    start(page)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    expect(page.locator("#saved")).to_have_text("Saved")
    requests: list[Route] = []
    page.route(re.compile(r"/api/generations/[0-9a-f-]+/$"), lambda route: requests.append(route))
    page.goto("/")
    page.wait_for_selector("#editor[data-ready]")
    page.set_input_files("#photo-input", written(np.full((64, 64, 3), 200, np.uint8), tmp_path / "chosen.png"))
    page.wait_for_timeout(300)
    assert requests
    for request in requests:
        request.continue_()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.locator("#photo-name")).to_have_text("chosen.png")
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
