"""The queue panel: painting does not stop the person, and what was left is found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import sign_up
from tests.browser.editor_page import (
    GENERATION_URL,
    drop,
    generate,
    is_red,
    open_photo,
    paint_line,
    start,
    wait_on_a_fake_generation,
    white_square,
    written,
)

pytestmark = pytest.mark.browser

FAKE = GENERATION_URL.split("/")[3]


def painting_forever(page: Page, photo_file: Path) -> dict[str, object]:
    """Open a photo and send a request whose generation does not end; its state, to be changed."""
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    state, _ = wait_on_a_fake_generation(page)
    state.update(id=FAKE, source="/", source_name="astronaut.png", images=[], parent=None, error=None)
    start(page)
    expect(page.locator("#leave")).to_be_enabled()
    return state


def test_the_next_mask_is_drawn_while_one_is_painted(visitor: Page, photo_file: Path) -> None:
    page = visitor
    painting_forever(page, photo_file)
    page.get_by_role("button", name="Go on meanwhile").click()
    expect(page.locator("#editor")).not_to_have_class("busy")
    expect(page.locator("#photo-covered")).to_have_text("nothing to repaint yet")
    paint_line(page, from_left=0.2, to_left=0.3, down=0.7)
    assert is_red(page, across=0.25, down=0.7)
    expect(page.locator("#generate")).to_be_enabled()
    page.locator("[data-command=undo]").click()  # the new line
    page.locator("[data-command=undo]").click()  # the mask that was sent comes back
    expect(page.locator("#photo-covered")).not_to_have_text("nothing to repaint yet")
    assert is_red(page)


def test_another_photo_is_opened_while_one_is_painted(visitor: Page, photo_file: Path, tmp_path: Path) -> None:
    page = visitor
    painting_forever(page, photo_file)
    drop(page, "#stage", written(white_square(), tmp_path / "second.png"))
    expect(page.locator("#photo-name")).to_have_text("second.png")
    expect(page.locator("#progress")).to_be_hidden()


def test_what_was_left_becomes_a_step_of_its_own_photo_and_not_of_the_one_that_is_open(
    visitor: Page, photo_file: Path, tmp_path: Path
) -> None:
    page, name, undo = visitor, visitor.locator("#photo-name"), visitor.locator("[data-command=undo]")
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    with page.expect_response("**/api/img2img"):
        start(page)
    with page.expect_response("**/api/stacks/"):
        open_photo(page, written(white_square(64), tmp_path / "second.png"))
    expect(page.locator("#queue-button")).to_have_text("1 done")
    expect(page.locator("#saved")).to_have_text("Saved")
    expect(page.locator("#photo-size")).to_contain_text("64 × 64")
    expect(page.locator("#steps-button")).to_be_hidden()
    undo.click()
    expect(name).to_have_text(photo_file.name)
    page.locator("#steps-button").click()
    expect(page.locator("#steps-list > li")).to_have_count(1)


def test_the_panel_shows_what_waits_runs_and_is_done(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sockets: list[WebSocketRoute] = []
    page.route_web_socket("**/ws/generations/", lambda socket: sockets.append(socket))
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    generate(page)
    done = page.url.partition("generation=")[2]
    page.get_by_role("button", name="Keep", exact=True).click()
    button, items = page.locator("#queue-button"), page.locator("#queue-list li")
    expect(button).to_be_hidden()
    stored = page.request.get(f"/api/generations/{done}/").json()
    page.route(f"**/api/generations/{done}/", lambda route: route.fulfill(json={**stored, "status": "running"}))
    for event in (
        {"id": done, "type": "queued", "position": 2, "eta": None},
        {"id": done, "type": "progress", "step": 43, "of": 100, "percent": 43, "seconds_left": 3},
    ):
        sockets[-1].send(json.dumps(event))
    expect(button).to_have_text("1 in the queue")
    expect(page).to_have_title("43 % · Editor – DreamLayer")
    button.click()
    expect(items).to_have_count(1)
    expect(items).to_contain_text("astronaut.png")
    expect(items.get_by_role("progressbar")).to_have_attribute("value", "43")
    assert violations(page) == []
    page.unroute_all()
    sockets[-1].send(json.dumps({"id": done, "type": "succeeded"}))
    expect(button).to_have_text("1 done")
    items.get_by_role("button", name="Open astronaut.png").click()
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    expect(page).to_have_url(f"/?generation={done}")
    expect(button).to_be_hidden()


def test_what_is_painted_is_found_again_after_a_reload(visitor: Page, photo_file: Path) -> None:
    page = visitor
    sign_up(page)
    page.route_web_socket("**/ws/generations/", lambda socket: socket.send(json.dumps({"id": FAKE, "type": "running"})))
    state: dict[str, object] = {
        "id": FAKE,
        "status": "running",
        "source": "/",
        "source_name": "other.png",
        "images": [],
        "parent": None,
    }
    page.route(f"**{GENERATION_URL}**", lambda route: route.fulfill(json=state))
    page.reload()
    expect(page.locator("#queue-button")).to_have_text("1 in the queue")
    cancelled: list[str] = []

    def cancel(route: Route) -> None:
        cancelled.append(route.request.url)
        route.fulfill(json={})

    page.route("**/cancel/", cancel)
    page.locator("#queue-button").click()
    page.get_by_role("button", name="Cancel other.png").click()
    page.wait_for_timeout(100)
    assert len(cancelled) == 1


def test_what_was_left_and_has_ended_is_listed_after_a_reload_until_it_is_removed(
    visitor: Page, photo_file: Path
) -> None:
    page, button = visitor, visitor.locator("#queue-button")
    state = painting_forever(page, photo_file)
    page.get_by_role("button", name="Go on meanwhile").click()
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(button).to_have_text("1 in the queue")
    state.update(status="failed", error={"message": "The memory is full."})
    page.reload()
    expect(button).to_have_text("1 done")
    button.click()
    expect(page.locator("#queue-list li")).to_contain_text("The memory is full.")
    page.get_by_role("button", name="Remove what is done").click()
    expect(button).to_be_hidden()
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    expect(page.locator("#photo-name")).to_have_text(photo_file.name)
    expect(button).to_be_hidden()
